package compute

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
)

// reconcile compares what should exist on the host with what does, once after
// the agent's start. Operations in flight are taken up again; servers that ran
// when the machine went down are started; what else differs is reported.
func (a *Agent) reconcile(ctx context.Context) error {
	reply, err := a.conductor.HostServers(ctx, rpc.HostArgs{Host: a.cfg.Host})
	if err != nil {
		return err
	}
	rebooted := a.machineRebooted()
	var changes []rpc.PowerChange
	for _, s := range reply.Servers {
		if s.Op != nil {
			go a.takeUp(context.WithoutCancel(ctx), s)
			continue
		}
		in, err := a.driver.Info(ctx, s.Spec.ID)
		missing := fault.Is(err, fault.NotFound)
		if err != nil && !missing {
			return err
		}
		if missing {
			in = virt.Info{ID: s.Spec.ID, PowerState: rpc.PowerNoState}
		}
		if a.startAgain(s.Spec, in, rebooted, missing) {
			go a.startAfterReboot(context.WithoutCancel(ctx), s.Spec)
			continue
		}
		if in.PowerState != s.Spec.PowerState && wantsReport(s.Spec.VMState, in.PowerState) {
			changes = append(changes, rpc.PowerChange{ServerID: s.Spec.ID, PowerState: in.PowerState, At: a.clock.Now(),
				Reason: "found so when the agent started"})
		}
	}
	a.sweepLeft(ctx, reply.Servers)
	if len(changes) > 0 {
		if err := a.conductor.PowerSync(ctx, rpc.PowerSyncArgs{Host: a.cfg.Host, Changes: changes}); err != nil {
			return err
		}
	}
	return a.rememberBoot()
}

// sweepLeft looks at what is on the host and not among the servers that should
// be: a boot that went to another host while this one was down left it.
func (a *Agent) sweepLeft(ctx context.Context, should []rpc.HostServer) {
	for _, id := range a.found {
		if slices.ContainsFunc(should, func(s rpc.HostServer) bool { return s.Spec.ID == id }) {
			continue
		}
		go func() {
			ctx := context.WithoutCancel(ctx)
			defer a.locks.Lock(id)()
			a.sweep(ctx, id)
		}()
	}
	a.found = nil
}

// sweep removes a server from this host if the conductor says that it is
// another host's, or nobody's. Its ports are the new host's business. A server
// that the conductor does not know at all is left for the audit to show: a
// database that has lost its memory is no reason to destroy servers. The caller
// has the server's lock.
func (a *Agent) sweep(ctx context.Context, id string) {
	spec, err := a.conductor.ServerInfo(ctx, rpc.ServerInfoArgs{ServerID: id})
	if fault.Is(err, fault.NotFound) || err == nil && spec.Host == a.cfg.Host {
		return
	}
	if err == nil {
		if _, missing := a.driver.Info(ctx, id); fault.Is(missing, fault.NotFound) {
			return
		}
		a.log.WarnContext(ctx, "server is not this host's any more: clearing it away", slog.String("server_id", id), slog.String("host", spec.Host))
		err = a.driver.Destroy(ctx, id)
	}
	if err != nil {
		a.log.ErrorContext(ctx, "leftovers of a server", slog.String("server_id", id), slog.Any("error", err))
	}
	a.changed()
}

// wantsReport leaves out the states of which a difference says nothing.
func wantsReport(vmState string, power int) bool {
	switch vmState {
	case "active", "paused", "stopped", "suspended":
		return true
	}
	return power == rpc.PowerRunning
}

// startAgain tells whether a server is one that ran until the machine went down.
func (a *Agent) startAgain(spec rpc.ServerSpec, in virt.Info, rebooted, missing bool) bool {
	return rebooted && !missing && !a.cfg.LeaveStopped && spec.VMState == "active" && in.PowerState == rpc.PowerShutdown
}

// startAfterReboot starts a server with the machine. The network agent wires
// its taps when it sees them, as it does after its own restart.
func (a *Agent) startAfterReboot(ctx context.Context, spec rpc.ServerSpec) {
	defer a.locks.Lock(spec.ID)()
	a.log.InfoContext(ctx, "server started again with the machine", slog.String("server_id", spec.ID))
	err := a.driver.Start(ctx, spec.ID)
	if err != nil {
		a.log.ErrorContext(ctx, "server not started again", slog.String("server_id", spec.ID), slog.Any("error", err))
	}
	state := a.powerState(ctx, spec.ID)
	if err = a.conductor.PowerSync(ctx, rpc.PowerSyncArgs{Host: a.cfg.Host, Changes: []rpc.PowerChange{{ServerID: spec.ID,
		PowerState: state, At: a.clock.Now(), Reason: "started with the machine"}}}); err != nil {
		a.log.WarnContext(ctx, "power state not told", slog.String("server_id", spec.ID), slog.Any("error", err))
	}
}

// takeUp runs an operation that an earlier agent left. If the bus brings its
// message too, that joins.
func (a *Agent) takeUp(ctx context.Context, s rpc.HostServer) {
	a.log.InfoContext(ctx, "operation taken up again", slog.String("server_id", s.Spec.ID),
		slog.String("op_id", s.Op.ID), slog.String("method", s.Op.Method))
	if err := a.dispatch(ctx, s); err != nil {
		a.log.WarnContext(ctx, "operation not finished", slog.String("op_id", s.Op.ID), slog.Any("error", err))
	}
}

func (a *Agent) dispatch(ctx context.Context, s rpc.HostServer) error {
	op := rpc.ServerOp{OpID: s.Op.ID, ServerID: s.Spec.ID}
	simple := map[string]func(context.Context, rpc.ServerOp) error{
		rpc.MethodBuild: a.Build, rpc.MethodDelete: a.Delete, rpc.MethodStart: a.Start, rpc.MethodStop: a.Stop,
		rpc.MethodPause: a.Pause, rpc.MethodUnpause: a.Unpause, rpc.MethodSuspend: a.Suspend,
		rpc.MethodResume: a.Resume, rpc.MethodRebuild: a.Rebuild,
	}
	if f := simple[s.Op.Method]; f != nil {
		return f(ctx, op)
	}
	switch s.Op.Method {
	case rpc.MethodReboot:
		return with(ctx, s.Op.Args, op, func(in *rpc.RebootArgs) *rpc.ServerOp { return &in.ServerOp }, a.Reboot)
	case rpc.MethodSnapshot:
		return with(ctx, s.Op.Args, op, func(in *rpc.SnapshotArgs) *rpc.ServerOp { return &in.ServerOp }, a.Snapshot)
	case rpc.MethodDetachInterface:
		return with(ctx, s.Op.Args, op, func(in *rpc.DetachInterfaceArgs) *rpc.ServerOp { return &in.ServerOp }, a.DetachInterface)
	case rpc.MethodAttachInterface:
		return with(ctx, s.Op.Args, op, func(in *rpc.AttachInterfaceArgs) *rpc.ServerOp { return &in.ServerOp },
			func(ctx context.Context, in rpc.AttachInterfaceArgs) error {
				_, err := a.AttachInterface(ctx, in)
				return err
			})
	}
	return fault.New(fault.NotImplemented, "operation %s is of the unknown kind %q", s.Op.ID, s.Op.Method)
}

// with decodes the arguments of an operation and runs it.
func with[A any](ctx context.Context, args []byte, op rpc.ServerOp, id func(*A) *rpc.ServerOp, f func(context.Context, A) error) error {
	var in A
	if len(args) > 0 {
		if err := json.Unmarshal(args, &in); err != nil {
			return fault.New(fault.BadRequest, "arguments of operation %s: %s", op.OpID, err)
		}
	}
	*id(&in) = op
	return f(ctx, in)
}

func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// machineRebooted tells whether the machine went down since the agent last ran:
// only then is a stopped guest one that should be started again.
func (a *Agent) machineRebooted() bool {
	b, err := os.ReadFile(filepath.Join(a.cfg.StateDir, "boot_id"))
	return err == nil && strings.TrimSpace(string(b)) != bootID()
}

func (a *Agent) rememberBoot() error {
	if a.cfg.StateDir == "" {
		return nil
	}
	if err := os.MkdirAll(a.cfg.StateDir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(a.cfg.StateDir, "boot_id"), []byte(bootID()+"\n"), 0o600)
}

// Audit implements rpc.Compute. What Remove names is removed only while no
// operation works on it.
func (a *Agent) Audit(ctx context.Context, in rpc.AuditArgs) (*rpc.HostAudit, error) {
	for _, id := range in.Remove {
		unlock := a.locks.Lock(id)
		err := a.driver.Destroy(ctx, id)
		unlock()
		if err != nil {
			return nil, err
		}
	}
	for _, tap := range in.RemoveTaps {
		if err := a.driver.UnplugTap(ctx, tap); err != nil {
			return nil, err
		}
	}
	out, err := a.driver.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	out.Host, out.Busy = a.cfg.Host, a.busy()
	return out, nil
}
