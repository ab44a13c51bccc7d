package compute

import (
	"context"
	"time"

	"github.com/hastack/hastack/internal/nova/rpc"
)

// power does a driver call that changes how a server runs, and reports what it
// does then.
func (a *Agent) power(ctx context.Context, in rpc.ServerOp, method string, f func(context.Context) error) error {
	return a.do(ctx, in, method, func(ctx context.Context, t *task) (rpc.Result, error) {
		if err := t.tell(ctx, ""); err != nil {
			return rpc.Result{}, err
		}
		err := t.step(ctx, rpc.Step{Name: "hypervisor"}, func() (string, error) { return "", f(ctx) })
		if err != nil {
			return rpc.Result{}, err
		}
		return rpc.Result{PowerState: a.powerState(ctx, in.ServerID)}, nil
	})
}

// Start implements rpc.Compute.
func (a *Agent) Start(ctx context.Context, in rpc.ServerOp) error {
	return a.power(ctx, in, rpc.MethodStart, func(ctx context.Context) error { return a.driver.Start(ctx, in.ServerID) })
}

// Stop implements rpc.Compute: the guest is asked first.
func (a *Agent) Stop(ctx context.Context, in rpc.ServerOp) error {
	return a.power(ctx, in, rpc.MethodStop, func(ctx context.Context) error {
		return a.driver.Stop(ctx, in.ServerID, a.cfg.ShutdownGrace)
	})
}

// Reboot implements rpc.Compute. Both kinds end with a new hypervisor process;
// a soft one lets the guest shut down before.
func (a *Agent) Reboot(ctx context.Context, in rpc.RebootArgs) error {
	return a.power(ctx, in.ServerOp, rpc.MethodReboot, func(ctx context.Context) error {
		grace := time.Duration(0)
		if in.Type == "SOFT" {
			grace = a.cfg.ShutdownGrace
		}
		if err := a.driver.Stop(ctx, in.ServerID, grace); err != nil {
			return err
		}
		return a.driver.Start(ctx, in.ServerID)
	})
}

// Pause implements rpc.Compute.
func (a *Agent) Pause(ctx context.Context, in rpc.ServerOp) error {
	return a.power(ctx, in, rpc.MethodPause, func(ctx context.Context) error { return a.driver.Pause(ctx, in.ServerID) })
}

// Unpause implements rpc.Compute.
func (a *Agent) Unpause(ctx context.Context, in rpc.ServerOp) error {
	return a.power(ctx, in, rpc.MethodUnpause, func(ctx context.Context) error { return a.driver.Unpause(ctx, in.ServerID) })
}

// Suspend implements rpc.Compute.
func (a *Agent) Suspend(ctx context.Context, in rpc.ServerOp) error {
	return a.power(ctx, in, rpc.MethodSuspend, func(ctx context.Context) error { return a.driver.Suspend(ctx, in.ServerID) })
}

// Resume implements rpc.Compute.
func (a *Agent) Resume(ctx context.Context, in rpc.ServerOp) error {
	return a.power(ctx, in, rpc.MethodResume, func(ctx context.Context) error { return a.driver.Start(ctx, in.ServerID) })
}
