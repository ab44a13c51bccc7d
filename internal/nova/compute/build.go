package compute

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/metadata"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
)

// Task states that the host sets while it builds.
const (
	taskNetworking = "networking"
	taskSpawning   = "spawning"
)

// Build implements rpc.Compute: steps 13 to 28 of a boot.
func (a *Agent) Build(ctx context.Context, in rpc.ServerOp) error {
	return a.do(ctx, in, rpc.MethodBuild, a.build)
}

func (a *Agent) build(ctx context.Context, t *task) (rpc.Result, error) {
	if err := a.builds.Acquire(ctx, 1); err != nil {
		return rpc.Result{}, err
	}
	defer a.builds.Release(1)
	err := t.step(ctx, rpc.Step{N: 13, Name: "take the build", Peer: "nova-conductor", Protocol: rpc.ProtoAMQP},
		func() (string, error) { return "", nil })
	if err != nil {
		return rpc.Result{}, err
	}
	if err := t.ask(ctx); err != nil {
		return rpc.Result{}, err
	}
	res, err := a.assemble(ctx, t)
	if err == nil || !cleanupAfter(ctx, err) {
		return res, err
	}
	a.clearAfter(context.WithoutCancel(ctx), t)
	return rpc.Result{Networks: []rpc.VIF{}}, err
}

// clearTries is how often what a failed build made is cleared away before the
// failure is told all the same: the deletion of the server clears again, and
// the audit shows what is left until then.
const clearTries = 5

func (a *Agent) clearAfter(ctx context.Context, t *task) {
	pause := 200 * time.Millisecond
	for range clearTries {
		err := a.clear(ctx, t.spec, t.op.ServerID)
		if err == nil {
			return
		}
		a.log.ErrorContext(ctx, "leftovers of a build", slog.String("server_id", t.op.ServerID), slog.Any("error", err))
		select {
		case <-a.stopped:
			return
		case <-a.clock.After(pause):
		}
		pause *= 2
	}
}

// cleanupAfter tells whether a build that ended so must clear away what it
// made. A deletion that came in between does that itself, and a stopping
// agent's successor builds on.
func cleanupAfter(ctx context.Context, err error) bool {
	cause := context.Cause(ctx)
	for _, later := range []error{errSuperseded, errStopping, errNotCurrent, errRetry, failpoint.ErrDropped} {
		if errors.Is(cause, later) || errors.Is(err, later) {
			return false
		}
	}
	return true
}

// ask is steps 14 to 18: one call, of which 15 to 17 are the conductor's.
func (t *task) ask(ctx context.Context) error {
	call := rpc.Step{N: 14, Name: "ask for the server", Peer: "nova-conductor", Protocol: rpc.ProtoAMQP, Actor: t.a.actor(), Start: t.a.clock.Now()}
	err := failpoint.At(ctx, t.point(call, "before-effect"))
	if err == nil {
		err = t.info(ctx, taskNetworking)
	}
	if err == nil {
		err = failpoint.At(ctx, t.point(call, "after-effect"))
	}
	if err != nil {
		return err
	}
	call.Duration, call.Outcome = t.a.clock.Now().Sub(call.Start), rpc.OutcomeOK
	t.note(call)
	return t.step(ctx, rpc.Step{N: 18, Name: "take the answer", Peer: "nova-conductor", Protocol: rpc.ProtoAMQP},
		func() (string, error) { return t.spec.Flavor.Name, nil })
}

// assemble is steps 19 to 28. The image and the network have nothing to do with
// each other, so they are got side by side.
func (a *Agent) assemble(ctx context.Context, t *task) (rpc.Result, error) {
	var base virt.Base
	var vifs []rpc.VIF
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { base, err = a.bootImage(gctx, t); return err })
	g.Go(func() (err error) { vifs, err = a.bootNetwork(gctx, t); return err })
	if err := g.Wait(); err != nil {
		return rpc.Result{}, err
	}
	for i, name := range []string{"attach volumes", "check the token", "take connection info"} {
		err := t.step(ctx, rpc.Step{N: 25 + i, Name: name, Peer: "cinder-api", Protocol: rpc.ProtoHTTP}, func() (string, error) { return "no volume", nil })
		if err != nil {
			return rpc.Result{}, err
		}
	}
	t.skip(25, 26, 27)
	if err := t.tell(ctx, taskSpawning); err != nil {
		return rpc.Result{}, err
	}
	err := t.step(ctx, rpc.Step{N: 28, Name: "start the server", Peer: a.needs.Name, Protocol: rpc.ProtoNative}, func() (string, error) {
		host, err := a.driver.Host(ctx)
		if err != nil {
			return "", err
		}
		return host.Accel, a.spawn(ctx, t.spec, base, vifs)
	})
	if err != nil {
		return rpc.Result{}, err
	}
	a.changed()
	return rpc.Result{VMState: "active", PowerState: rpc.PowerRunning, Networks: vifs}, nil
}

// skip marks noted steps as those that this boot does not need.
func (t *task) skip(ns ...int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.steps {
		for _, n := range ns {
			if t.steps[i].N == n {
				t.steps[i].Outcome = rpc.OutcomeSkipped
			}
		}
	}
}

// spawn defines and starts a server. One that runs already is what a crash
// between the start and its report leaves: it is kept.
func (a *Agent) spawn(ctx context.Context, spec *rpc.ServerSpec, base virt.Base, vifs []rpc.VIF) error {
	in, err := a.driver.Info(ctx, spec.ID)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if err == nil && in.PowerState == rpc.PowerRunning {
		return nil
	}
	def, err := definition(spec, base, vifs)
	if err != nil {
		return err
	}
	if err := a.driver.Define(ctx, def); err != nil {
		return fmt.Errorf("define: %w", err)
	}
	if err := a.driver.Start(ctx, spec.ID); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return nil
}

// definition is what the driver keeps of a server.
func definition(spec *rpc.ServerSpec, base virt.Base, vifs []rpc.VIF) (*virt.Server, error) {
	def := &virt.Server{ID: spec.ID, InstanceName: spec.InstanceName, Name: spec.Name, ProjectID: spec.ProjectID,
		VCPUs: spec.Flavor.VCPUs, MemoryMB: spec.Flavor.MemoryMB, RootGB: spec.Flavor.RootGB,
		EphemeralGB: spec.Flavor.EphemeralGB, SwapMB: spec.Flavor.SwapMB, Root: base,
		Properties: spec.Image.Properties, ExtraSpecs: spec.Flavor.ExtraSpecs}
	for _, v := range vifs {
		def.NICs = append(def.NICs, nicOf(v))
	}
	if spec.ConfigDrive {
		told := *spec
		told.Networks = vifs
		files, err := metadata.DriveFiles(&told)
		if err != nil {
			return nil, err
		}
		def.ConfigDrive = files
	}
	return def, nil
}

func nicOf(v rpc.VIF) virt.NIC {
	return virt.NIC{PortID: v.PortID, MAC: v.MAC, Tap: v.Tap, MTU: v.MTU, Tag: v.Tag}
}
