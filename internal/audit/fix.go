package audit

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/placement/v1/allocations"

	novarpc "github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/openstack"
)

// Fix removes what the fixable findings name and returns how many it removed.
// It goes on past errors and returns them all.
func (c *Collector) Fix(ctx context.Context, found []Finding) (int, error) {
	fixed := 0
	var errs []error
	for _, f := range found {
		if !f.Fixable {
			continue
		}
		if err := c.fix(ctx, f); err != nil {
			errs = append(errs, fmt.Errorf("remove %s %s: %w", f.Kind, f.ID, err))
			continue
		}
		fixed++
	}
	return fixed, errors.Join(errs...)
}

func (c *Collector) fix(ctx context.Context, f Finding) error {
	switch f.Kind {
	case "allocation":
		sc, err := c.Clients.Placement(ctx)
		if err != nil {
			return err
		}
		return gone(allocations.Delete(ctx, sc, f.ID).ExtractErr())
	case "port":
		sc, err := c.Clients.Network(ctx)
		if err != nil {
			return err
		}
		return gone(ports.Delete(ctx, sc, f.ID).ExtractErr())
	case "quota":
		sc, err := c.Clients.Compute(ctx)
		if err != nil {
			return err
		}
		var view novaView
		_, err = sc.Post(ctx, sc.ServiceURL("hastack-audit"), nil, &view, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}})
		return openstack.Fault(err)
	case "process", "disk":
		_, err := novarpc.NewComputeClient(c.Bus, f.Host).Audit(ctx, novarpc.AuditArgs{Remove: []string{f.Owner}})
		return err
	case "tap":
		_, err := novarpc.NewComputeClient(c.Bus, f.Host).Audit(ctx, novarpc.AuditArgs{RemoveTaps: []string{f.ID}})
		return err
	}
	return fmt.Errorf("there is no way to remove a %s", f.Kind)
}

// gone takes "not found" for success: somebody else removed it.
func gone(err error) error {
	if gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		return nil
	}
	return openstack.Fault(err)
}
