package compute

import (
	"context"
	"errors"
	"slices"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
)

// AttachInterface implements rpc.Compute.
func (a *Agent) AttachInterface(ctx context.Context, in rpc.AttachInterfaceArgs) (*rpc.VIF, error) {
	r, err := a.doAnd(ctx, in.ServerOp, rpc.MethodAttachInterface, func(ctx context.Context, t *task) (rpc.Result, error) {
		if err := t.info(ctx, ""); err != nil {
			return rpc.Result{}, err
		}
		v, err := a.attach(ctx, t, in.Network)
		if err != nil {
			if v != nil && cleanupAfter(ctx, err) {
				clean := context.WithoutCancel(ctx)
				err = errors.Join(err, a.driver.Detach(clean, in.ServerID, v.PortID), a.driver.UnplugTap(clean, v.Tap), a.giveBack(clean, withRequest(t.spec, in.Network), v.PortID))
			}
			return rpc.Result{}, err
		}
		t.vif = v
		nets := slices.DeleteFunc(slices.Clone(t.spec.Networks), func(n rpc.VIF) bool { return n.PortID == v.PortID })
		return rpc.Result{PowerState: a.powerState(ctx, in.ServerID), Networks: append(nets, *v)}, nil
	})
	if err != nil {
		return nil, err
	}
	if r.vif == nil {
		return nil, fault.New(fault.Conflict, "the interface was not attached to server %s", in.ServerID)
	}
	return r.vif, nil
}

// withRequest is a spec that asks for one more port, as attach treats it.
func withRequest(spec *rpc.ServerSpec, r rpc.RequestedNetwork) *rpc.ServerSpec {
	one := *spec
	one.Requested = []rpc.RequestedNetwork{r}
	return &one
}

// attach makes or binds the port and plugs it. When it fails after there is a
// port, it returns that port with the error.
func (a *Agent) attach(ctx context.Context, t *task, r rpc.RequestedNetwork) (*rpc.VIF, error) {
	want := withRequest(t.spec, r)
	if r.PortID == "" && r.NetworkID == "" {
		return nil, fault.New(fault.BadRequest, "attach an interface: neither port nor network is named")
	}
	p, err := a.attachPort(ctx, t, want, r)
	if err != nil {
		return nil, err
	}
	vifs, err := a.describePorts(ctx, want, []port{p})
	if err != nil {
		return &rpc.VIF{PortID: p.ID, Tap: tapOf(p)}, err
	}
	v := vifs[0]
	v.Tag = r.Tag
	if err := a.plug(ctx, t.op.ServerID, vifs); err != nil {
		return &v, err
	}
	v.Active = true
	err = t.step(ctx, rpc.Step{Name: "hypervisor"}, func() (string, error) { return "", a.driver.Attach(ctx, t.op.ServerID, nicOf(v)) })
	return &v, err
}

// attachPort finds the port that an earlier try of this attach made: one of the
// server on the wanted network that is not among its known interfaces.
func (a *Agent) attachPort(ctx context.Context, t *task, want *rpc.ServerSpec, r rpc.RequestedNetwork) (p port, err error) {
	err = t.step(ctx, rpc.Step{Name: "port"}, func() (string, error) {
		have, err := a.network.Ports(ctx, t.op.ServerID)
		if err != nil {
			return "", err
		}
		if r.PortID != "" {
			p, err = a.bindUserPort(ctx, want, r.PortID, have)
			return "", err
		}
		known := func(q port) bool {
			return slices.ContainsFunc(t.spec.Networks, func(v rpc.VIF) bool { return v.PortID == q.ID })
		}
		if i := slices.IndexFunc(have, func(q port) bool { return !known(q) && made(q, r) }); i >= 0 {
			p, err = a.rebind(ctx, want, have[i])
			return "", err
		}
		var groups []string
		if len(want.SecurityGroups) > 0 {
			if groups, err = a.network.GroupIDs(ctx, want.ProjectID, want.SecurityGroups); err != nil {
				return "", err
			}
		}
		p, err = a.createPort(ctx, want, r, groups)
		return "", err
	})
	return p, err
}

// DetachInterface implements rpc.Compute.
func (a *Agent) DetachInterface(ctx context.Context, in rpc.DetachInterfaceArgs) error {
	return a.do(ctx, in.ServerOp, rpc.MethodDetachInterface, func(ctx context.Context, t *task) (rpc.Result, error) {
		if err := t.info(ctx, ""); err != nil {
			return rpc.Result{}, err
		}
		err := t.step(ctx, rpc.Step{Name: "hypervisor"}, func() (string, error) {
			return "", errors.Join(ignoreMissing(a.driver.Detach(ctx, in.ServerID, in.PortID)), a.driver.UnplugTap(ctx, tapOf(port{ID: in.PortID})))
		})
		if err != nil {
			return rpc.Result{}, err
		}
		err = t.step(ctx, rpc.Step{Name: "port"}, func() (string, error) { return "", a.giveBack(ctx, t.spec, in.PortID) })
		if err != nil {
			return rpc.Result{}, err
		}
		nets := slices.DeleteFunc(append([]rpc.VIF{}, t.spec.Networks...), func(n rpc.VIF) bool { return n.PortID == in.PortID })
		return rpc.Result{PowerState: a.powerState(ctx, in.ServerID), Networks: nets}, nil
	})
}

func ignoreMissing(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
