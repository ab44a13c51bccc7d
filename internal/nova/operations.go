package nova

import (
	"context"
	"encoding/json"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/operation"
	"github.com/hastack/hastack/internal/telemetry"
)

// Kinds of operations. The names are stored with unfinished ones.
const (
	kindBoot   = "nova.boot"
	kindDelete = "nova.delete"
	kindPrefix = "nova."
)

// methodWake is cast by an API process whose runner does not run.
const methodWake = "wake"

// A hostTask is an operation that one host does: which message to send, and
// what the server is afterwards.
type hostTask struct {
	Action string          `json:"action"` // Action…, for the state machine
	Method string          `json:"method"`
	Extra  json.RawMessage `json:"extra,omitempty"` // fields of the message besides rpc.ServerOp
	// ImageID is the image that a failed snapshot leaves behind.
	ImageID string `json:"image_id,omitempty"`
}

// hostKinds are the operations of one host step, by action.
var hostKinds = map[string]struct{ method, event string }{
	ActionStart:       {rpc.MethodStart, "compute_start_instance"},
	ActionStop:        {rpc.MethodStop, "compute_stop_instance"},
	ActionReboot:      {rpc.MethodReboot, "compute_reboot_instance"},
	actionSoft:        {rpc.MethodReboot, "compute_reboot_instance"},
	ActionPause:       {rpc.MethodPause, "compute_pause_instance"},
	ActionUnpause:     {rpc.MethodUnpause, "compute_unpause_instance"},
	ActionSuspend:     {rpc.MethodSuspend, "compute_suspend_instance"},
	ActionResume:      {rpc.MethodResume, "compute_resume_instance"},
	ActionRebuild:     {rpc.MethodRebuild, "compute_rebuild_instance"},
	ActionCreateImage: {rpc.MethodSnapshot, "compute_snapshot_instance"},
	ActionAttach:      {rpc.MethodAttachInterface, "compute_attach_interface"},
	ActionDetach:      {rpc.MethodDetachInterface, "compute_detach_interface"},
}

func (s *Service) initOperations() error {
	kinds := []operation.Kind{
		{Name: kindBoot, Deadline: s.cfg.BuildTimeout, Failed: s.bootFailed, Steps: []operation.Step{
			{Name: "schedule", Do: s.bootSchedule, Undo: s.bootUnschedule, Merge: true, Timeout: 30 * time.Second},
			{Name: "build", Do: s.bootBuild, Timeout: 30 * time.Second},
		}},
		{Name: kindDelete, Forward: true, Deadline: 7 * 24 * time.Hour, Steps: []operation.Step{
			{Name: "host", Do: s.deleteOnHost, Merge: true, Timeout: 30 * time.Second},
			{Name: "ports", Do: s.deletePorts, Merge: true},
			{Name: "allocation", Do: s.deleteAllocation},
		}},
	}
	for action := range hostKinds {
		kinds = append(kinds, operation.Kind{Name: kindPrefix + action, Deadline: s.cfg.ActionTimeout, Failed: s.hostTaskFailed,
			Steps: []operation.Step{{Name: "host", Do: s.hostTaskDo, Undo: s.hostTaskUndo, Timeout: 30 * time.Second}}})
	}
	owner := ""
	if s.cfg.Host != "" {
		owner = s.cfg.Host + "/" + BinaryConductor
	}
	var err error
	s.ops, err = operation.New(operation.Config{
		DB: s.db, Clock: s.clock, Log: s.log, Kinds: kinds, Host: owner, Workers: 16,
		Context: func(ctx context.Context, op *operation.Op) context.Context {
			return telemetry.WithRequestID(ctx, op.RequestID)
		},
	})
	return err
}

// launch lets operations run that were committed just now: here if this
// process runs operations, else on a conductor. If the message is lost, a
// conductor finds them within seconds.
func (s *Service) launch(ctx context.Context, ops ...*operation.Op) {
	if s.runs.Load() {
		for _, op := range ops {
			s.ops.Launch(op)
		}
		return
	}
	list := make([]string, len(ops))
	for i, op := range ops {
		list[i] = op.ID
	}
	s.castWake(ctx, list)
}

// wake lets an operation look at its server again: it lost its turn.
func (s *Service) wake(ctx context.Context, opID string) {
	if s.runs.Load() {
		s.ops.Wake(opID)
		return
	}
	s.castWake(ctx, []string{opID})
}

func (s *Service) castWake(ctx context.Context, list []string) {
	if err := s.bus.Cast(ctx, bus.Target{Topic: rpc.TopicConductor}, methodWake, list); err != nil {
		s.log.WarnContext(ctx, "wake conductor", "error", err)
	}
}

// hostTaskDo tells the host, and again when it is silent, until the host has
// finished the operation or lost it.
func (s *Service) hostTaskDo(ctx context.Context, op *operation.Op) error {
	srv, err := s.anyServer(ctx, op.ResourceID)
	if err != nil {
		return err
	}
	if srv.OpID != op.ID {
		return nil // finished by Finish, or taken over by a deletion
	}
	if srv.Outcome != nil {
		return srv.Outcome.err()
	}
	var task hostTask
	if err := op.DecodeArgs(&task); err != nil {
		return err
	}
	return s.castOrWait(ctx, op, srv.Host, task.Method, task.message(op.ID, srv.ID))
}

// castOrWait sends a host its message if it was not sent within the last
// RecastAfter, and waits. The host joins a message that it knows.
func (s *Service) castOrWait(ctx context.Context, op *operation.Op, host, method string, args any) error {
	var last time.Time
	if _, err := op.Load("cast."+host, &last); err != nil {
		return err
	}
	now := s.clock.Now()
	if left := s.cfg.RecastAfter - now.Sub(last); left > 0 {
		return operation.Wait(min(left, lookAfter))
	}
	if err := rpc.NewComputeClient(s.bus, host).Cast(ctx, method, args); err != nil {
		return err
	}
	if err := op.Save("cast."+host, now); err != nil {
		return err
	}
	return operation.Wait(min(s.cfg.RecastAfter, lookAfter))
}

// lookAfter is how often an operation looks whether its host still lives.
const lookAfter = 5 * time.Second

// message is the body that the host gets: ServerOp and what the method needs.
func (t *hostTask) message(opID, serverID string) map[string]any {
	m := map[string]any{}
	if len(t.Extra) > 0 {
		// Made by us from a struct; a body that does not parse has no fields.
		_ = json.Unmarshal(t.Extra, &m)
	}
	m["op_id"], m["server_id"] = opID, serverID
	return m
}

// hostTaskUndo removes what an operation that failed left outside of the host.
func (s *Service) hostTaskUndo(ctx context.Context, op *operation.Op) error {
	var task hostTask
	if err := op.DecodeArgs(&task); err != nil {
		return err
	}
	if task.ImageID == "" {
		return nil
	}
	return s.deleteSnapshotImage(ctx, task.ImageID)
}
