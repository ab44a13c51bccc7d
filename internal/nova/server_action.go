package nova

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/operation"
)

var errServerChanged = errors.New("server changed")

// taskEnd is how an operation leaves its server.
type taskEnd struct {
	opID    string
	at      time.Time
	set     map[string]any
	steps   []rpc.Step
	event   *ActionEvent
	message string
}

// casTries is how often a compare-and-set on a server is tried again with what
// it has become.
const casTries = 5

// startAction begins a host operation on a server: the transition's check, the
// compare-and-set, the operation, all before it returns.
func (s *Service) startAction(ctx context.Context, r ActionRequest, task hostTask, set map[string]any) (*operation.Op, error) {
	srv, id := r.Server, r.Identity
	if done, err := s.opOfKey(ctx, r.key()); done != nil || err != nil {
		return done, err
	}
	tr := transitions()[task.Action]
	task.Method = hostKinds[task.Action].method
	if tr.task != "" {
		if set == nil {
			set = map[string]any{}
		}
		set["task_state"] = tr.task
	}
	name := task.Action
	if name == actionSoft {
		name = ActionReboot
	}
	for range casTries {
		if err := tr.check(srv, name); err != nil {
			return nil, err
		}
		if srv.Host == "" {
			return nil, fault.New(fault.Conflict, "Instance %s is not ready: it has no host", srv.ID)
		}
		a := &Action{ID: ids.UUID(), ServerID: srv.ID, Action: name, RequestID: r.RequestID,
			ProjectID: id.ProjectID, UserID: id.UserID, StartTime: s.clock.Now(), UpdatedAt: s.clock.Now()}
		old := srv.OpID
		op, ok, err := s.beginTask(ctx, srv, kindPrefix+task.Action, a, r.key(), task, set)
		if err != nil {
			return nil, err
		}
		if ok {
			s.launch(ctx, op)
			if old != "" {
				s.wake(ctx, old) // it lost its turn and lets the resource go
			}
			return op, nil
		}
		if srv, err = s.Server(ctx, srv.ID); err != nil {
			return nil, err
		}
	}
	return nil, fault.New(fault.Conflict, "Instance %s is being changed by others", srv.ID)
}

// checkLock refuses an action on a locked server, except by an administrator
// who may override it.
func checkLock(srv *Server, override bool) error {
	if srv.Locked() && !override {
		return fault.New(fault.Conflict, "Instance %s is locked", srv.ID)
	}
	return nil
}

// An ActionRequest is who asks for an action on which server. OverrideLock is
// set for those who may act on a locked server.
type ActionRequest struct {
	Identity     *authtoken.Identity
	Server       *Server
	RequestID    string
	OverrideLock bool
	// IdempotencyKey makes a repeated request the same action, "" for none.
	IdempotencyKey string
}

// key is the client's key made unique among projects and servers.
func (r *ActionRequest) key() string {
	if r.IdempotencyKey == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(r.Identity.ProjectID + "/" + r.Server.ID + "/" + r.IdempotencyKey))
	return hex.EncodeToString(sum[:])
}

func (s *Service) simple(ctx context.Context, r ActionRequest, action string, extra any) error {
	if err := checkLock(r.Server, r.OverrideLock); err != nil {
		return err
	}
	task := hostTask{Action: action}
	if extra != nil {
		b, err := json.Marshal(extra)
		if err != nil {
			return err
		}
		task.Extra = b
	}
	_, err := s.startAction(ctx, r, task, nil)
	return err
}

// Start powers a stopped server on.
func (s *Service) Start(ctx context.Context, r ActionRequest) error {
	return s.simple(ctx, r, ActionStart, nil)
}

// Stop shuts a server down.
func (s *Service) Stop(ctx context.Context, r ActionRequest) error {
	return s.simple(ctx, r, ActionStop, nil)
}

// Reboot restarts a server: SOFT asks the guest, HARD does not.
func (s *Service) Reboot(ctx context.Context, r ActionRequest, kind string) error {
	action := ActionReboot
	if kind == "SOFT" {
		action = actionSoft
	}
	return s.simple(ctx, r, action, map[string]string{"type": kind})
}

// Pause freezes a server's processors.
func (s *Service) Pause(ctx context.Context, r ActionRequest) error {
	return s.simple(ctx, r, ActionPause, nil)
}

// Unpause lets a paused server go on.
func (s *Service) Unpause(ctx context.Context, r ActionRequest) error {
	return s.simple(ctx, r, ActionUnpause, nil)
}

// Suspend stores a server's memory and stops it.
func (s *Service) Suspend(ctx context.Context, r ActionRequest) error {
	return s.simple(ctx, r, ActionSuspend, nil)
}

// Resume lets a suspended server go on.
func (s *Service) Resume(ctx context.Context, r ActionRequest) error {
	return s.simple(ctx, r, ActionResume, nil)
}

// finishedColumns is what a server becomes when a host did what it should.
func (s *Service) finishedColumns(srv *Server, op *operation.Op, in *rpc.FinishArgs, now time.Time) map[string]any {
	set := map[string]any{"power_state": in.Result.PowerState}
	after := Active
	if op.Kind != kindBoot {
		after = transitions()[op.Kind[len(kindPrefix):]].after
	}
	if in.Result.VMState != "" {
		after = in.Result.VMState
	}
	if after != "" {
		set["vm_state"] = after
	}
	if in.Result.Networks != nil {
		setNetworks(set, in.Result.Networks)
	}
	switch op.Kind {
	case kindBoot, kindPrefix + ActionRebuild:
		if srv.LaunchedAt.IsZero() || op.Kind != kindBoot {
			set["launched_at"] = now
		}
		set["progress"] = 100
	}
	if after == Active && srv.Fault != nil && op.Kind != kindPrefix+ActionCreateImage {
		set["fault"] = nil
	}
	return set
}

// hostTaskFailed lets a server go that an action failed on. Its vm_state stays
// unless the host said what it is now.
func (s *Service) hostTaskFailed(ctx context.Context, tx bun.Tx, op *operation.Op) error {
	srv, err := serverInTx(ctx, tx, op.ResourceID)
	if err != nil || srv == nil || srv.OpID != op.ID {
		return err
	}
	now := s.clock.Now()
	f := &Fault{Code: op.ErrorKind.Status(), Message: op.Error, Created: now}
	set := map[string]any{}
	host := srv.Host
	if out := srv.Outcome; out != nil {
		f, host = &out.Fault, out.Host
		if out.VMState != "" {
			set["vm_state"] = out.VMState
		}
	}
	if op.Kind == kindPrefix+ActionRebuild {
		set["vm_state"] = Errored // half a disk is no server
	}
	set["fault"] = asJSON(f)
	event := newEvent(srv.ActionID, eventOf(op.Kind), host, op.CreatedAt)
	event.Result, event.FinishTime, event.Details = "Error", now, f.Message
	return endTask(ctx, tx, srv, taskEnd{opID: op.ID, at: now, set: set, event: event, message: "Error"})
}

// eventOf is the name that os-instance-actions gives to a host's part.
func eventOf(kind string) string {
	switch kind {
	case kindBoot:
		return "compute__do_build_and_run_instance"
	case kindDelete:
		return "compute_terminate_instance"
	}
	return hostKinds[kind[len(kindPrefix):]].event
}
