package compute

import (
	"context"
	"errors"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
)

// Delete implements rpc.Compute. It ends whatever else runs on the server.
func (a *Agent) Delete(ctx context.Context, in rpc.ServerOp) error {
	return a.do(ctx, in, rpc.MethodDelete, func(ctx context.Context, t *task) (rpc.Result, error) {
		// A server that the database has forgotten was deleted while this host
		// was down. Its ports were given back then; the rest is here.
		gone := false
		if err := t.info(ctx, ""); err != nil {
			if gone = fault.Is(err, fault.NotFound); !gone {
				return rpc.Result{}, err
			}
		}
		err := t.step(ctx, rpc.Step{Name: "hypervisor"}, func() (string, error) { return "", a.driver.Destroy(ctx, in.ServerID) })
		if err != nil {
			return rpc.Result{}, err
		}
		err = t.step(ctx, rpc.Step{Name: "ports"}, func() (string, error) {
			if gone {
				return "", nil
			}
			return "", a.unbindPorts(ctx, t.spec, in.ServerID)
		})
		if err != nil {
			return rpc.Result{}, err
		}
		a.changed()
		return rpc.Result{VMState: "deleted", Deleted: true, Networks: []rpc.VIF{}}, nil
	})
}

// clear removes everything of a server from the host and from Neutron. Spec may
// be nil: then no port is known to be the user's.
func (a *Agent) clear(ctx context.Context, spec *rpc.ServerSpec, id string) error {
	return errors.Join(a.driver.Destroy(ctx, id), a.unbindPorts(ctx, spec, id))
}

func tapOf(p port) string { return virt.TapName(p.ID) }
