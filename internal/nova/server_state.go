package nova

import (
	"slices"

	"github.com/hastack/hastack/internal/fault"
)

// vm_state values.
const (
	Building  = "building"
	Active    = "active"
	Stopped   = "stopped"
	Paused    = "paused"
	Suspended = "suspended"
	Errored   = "error"
	Deleted   = "deleted"
	SoftGone  = "soft-delete"
)

// task_state values.
const (
	TaskScheduling         = "scheduling"
	TaskNetworking         = "networking"
	TaskBlockDeviceMapping = "block_device_mapping"
	TaskSpawning           = "spawning"
	TaskDeleting           = "deleting"
	TaskPoweringOff        = "powering-off"
	TaskPoweringOn         = "powering-on"
	TaskRebooting          = "rebooting"
	TaskRebootingHard      = "rebooting_hard"
	TaskPausing            = "pausing"
	TaskUnpausing          = "unpausing"
	TaskSuspending         = "suspending"
	TaskResuming           = "resuming"
	TaskRebuilding         = "rebuilding"
	TaskRebuildSpawning    = "rebuild_spawning" // told by the host
	TaskSnapshotPending    = "image_snapshot_pending"
)

// A transition is one line of the state machine: from which vm_states an
// action may start, the task_state while it runs, and the vm_state after.
type transition struct {
	from  []string
	task  string
	after string // "" keeps the vm_state
	// overTask lists task_states that the action may interrupt besides none.
	overTask []string
}

// anyState marks an action that starts whatever the server is doing.
var anyState = []string{"*"}

// transitions is the state machine of servers. The boot is not in it: it is
// the only way into building, and ends in active or error.
func transitions() map[string]transition {
	return map[string]transition{
		ActionDelete:  {from: anyState, task: TaskDeleting, after: Deleted, overTask: anyState},
		ActionStart:   {from: []string{Stopped}, task: TaskPoweringOn, after: Active},
		ActionStop:    {from: []string{Active, Errored}, task: TaskPoweringOff, after: Stopped},
		ActionReboot:  {from: []string{Active, Stopped, Paused, Suspended, Errored}, task: TaskRebootingHard, after: Active, overTask: []string{TaskRebooting}},
		actionSoft:    {from: []string{Active}, task: TaskRebooting, after: Active},
		ActionPause:   {from: []string{Active}, task: TaskPausing, after: Paused},
		ActionUnpause: {from: []string{Paused}, task: TaskUnpausing, after: Active},
		ActionSuspend: {from: []string{Active}, task: TaskSuspending, after: Suspended},
		ActionResume:  {from: []string{Suspended}, task: TaskResuming, after: Active},
		ActionRebuild: {from: []string{Active, Stopped, Errored}, task: TaskRebuilding, after: Active},
		ActionCreateImage: {from: []string{Active, Stopped, Paused, Suspended},
			task: TaskSnapshotPending},
		ActionAttach: {from: []string{Active, Paused, Stopped}},
		ActionDetach: {from: []string{Active, Paused, Stopped}},
	}
}

// Names of actions, as os-instance-actions shows them.
const (
	ActionCreate      = "create"
	ActionDelete      = "delete"
	ActionStart       = "start"
	ActionStop        = "stop"
	ActionReboot      = "reboot"
	actionSoft        = "reboot-soft" // stored as reboot
	ActionPause       = "pause"
	ActionUnpause     = "unpause"
	ActionSuspend     = "suspend"
	ActionResume      = "resume"
	ActionRebuild     = "rebuild"
	ActionCreateImage = "createImage"
	ActionAttach      = "attach_interface"
	ActionDetach      = "detach_interface"
	ActionLock        = "lock"
	ActionUnlock      = "unlock"
	ActionResetState  = "resetState"
)

// check returns the Conflict of an action that the server's state forbids, in
// the words clients of Nova look for.
func (t transition) check(s *Server, action string) error {
	if !slices.Contains(t.from, "*") && !slices.Contains(t.from, s.VMState) {
		return fault.New(fault.Conflict, "Cannot '%s' instance %s while it is in vm_state %s", action, s.ID, s.VMState)
	}
	if s.TaskState != "" && !slices.Contains(t.overTask, "*") && !slices.Contains(t.overTask, s.TaskState) {
		return fault.New(fault.Conflict, "Cannot '%s' instance %s while it is in task_state %s", action, s.ID, s.TaskState)
	}
	return nil
}

// Status is the server's status in the API, made of vm_state and task_state.
func (s *Server) Status() string {
	switch s.VMState {
	case Active:
		switch s.TaskState {
		case TaskRebooting:
			return "REBOOT"
		case TaskRebootingHard:
			return "HARD_REBOOT"
		case TaskRebuilding, TaskRebuildSpawning:
			return "REBUILD"
		}
		return "ACTIVE"
	case Building:
		return "BUILD"
	case Stopped:
		switch s.TaskState {
		case TaskRebootingHard:
			return "HARD_REBOOT"
		case TaskRebuilding, TaskRebuildSpawning:
			return "REBUILD"
		}
		return "SHUTOFF"
	case Errored:
		if s.TaskState == TaskRebuilding || s.TaskState == TaskRebuildSpawning {
			return "REBUILD"
		}
		return "ERROR"
	case Paused:
		if s.TaskState == TaskRebootingHard {
			return "HARD_REBOOT"
		}
		return "PAUSED"
	case Suspended:
		if s.TaskState == TaskRebootingHard {
			return "HARD_REBOOT"
		}
		return "SUSPENDED"
	case Deleted:
		return "DELETED"
	case SoftGone:
		return "SOFT_DELETED"
	}
	return "UNKNOWN"
}

// statusFilter is what a status in a list's query means in the database. ok is
// false for a status that no server has.
func statusFilter(status string) (vmStates []string, tasks []string, ok bool) {
	m := map[string][2][]string{
		"ACTIVE":       {{Active}, nil},
		"BUILD":        {{Building}, nil},
		"SHUTOFF":      {{Stopped}, nil},
		"ERROR":        {{Errored}, nil},
		"PAUSED":       {{Paused}, nil},
		"SUSPENDED":    {{Suspended}, nil},
		"DELETED":      {{Deleted}, nil},
		"SOFT_DELETED": {{SoftGone}, nil},
		"REBOOT":       {{Active}, {TaskRebooting}},
		"HARD_REBOOT":  {{Active, Stopped, Paused, Suspended}, {TaskRebootingHard}},
		"REBUILD":      {{Active, Stopped, Errored}, {TaskRebuilding, TaskRebuildSpawning}},
	}
	v, ok := m[status]
	return v[0], v[1], ok
}
