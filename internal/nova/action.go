package nova

import (
	"context"
	"slices"
	"time"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
)

// An Action is one thing that was done to a server, by whom and how it ended:
// os-instance-actions.
type Action struct {
	ID        string `bun:"id,pk"`
	ServerID  string
	Action    string
	RequestID string
	ProjectID string
	UserID    string
	Message   string `bun:",nullzero"`
	StartTime time.Time
	UpdatedAt time.Time
}

// An ActionEvent is one try of an action on a host.
type ActionEvent struct {
	ID         string `bun:"id,pk"`
	ActionID   string
	Event      string
	Host       string `bun:",nullzero"`
	Result     string `bun:",nullzero"` // Success, Error, "" while it runs
	Details    string `bun:",nullzero"`
	StartTime  time.Time
	FinishTime time.Time `bun:",nullzero"`
}

func newAction(srv *Server, id *authtoken.Identity, action, requestID string, now time.Time) *Action {
	return &Action{ID: srv.ActionID, ServerID: srv.ID, Action: action, RequestID: requestID,
		ProjectID: id.ProjectID, UserID: id.UserID, StartTime: now, UpdatedAt: now}
}

// ActionFilter pages and cuts a list of actions.
type ActionFilter struct {
	Limit         int
	Marker        string // request id
	ChangesSince  time.Time
	ChangesBefore time.Time
}

// Action returns the action of a request on a server with its events, oldest
// first.
func (s *Service) Action(ctx context.Context, serverID, requestID string) (*Action, []ActionEvent, error) {
	a, err := s.actionByRequest(ctx, serverID, requestID)
	if err != nil {
		return nil, nil, err
	}
	events, err := s.actionEvents(ctx, a.ID)
	return a, events, err
}

// A Trace is the course of one action: the 28 steps of a boot.
type Trace struct {
	Action *Action
	Steps  []rpc.Step // in order of N, each once
}

// Trace returns the steps of a server's action; requestID "" means its boot.
func (s *Service) Trace(ctx context.Context, serverID, requestID string) (*Trace, error) {
	var a *Action
	var err error
	if requestID != "" {
		a, err = s.actionByRequest(ctx, serverID, requestID)
	} else {
		a, err = s.bootAction(ctx, serverID)
	}
	if err != nil {
		return nil, err
	}
	batches, err := s.spanBatches(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	return &Trace{Action: a, Steps: mergeSteps(batches)}, nil
}

// mergeSteps lets a later report of a step replace an earlier one: a step that
// ran again after a crash counts once, as it ended.
func mergeSteps(batches [][]rpc.Step) []rpc.Step {
	byN := map[int]rpc.Step{}
	for _, b := range batches {
		for _, st := range b {
			byN[st.N] = st
		}
	}
	out := make([]rpc.Step, 0, len(byN))
	for _, st := range byN {
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b rpc.Step) int { return a.N - b.N })
	return out
}

func newEvent(actionID, event, host string, start time.Time) *ActionEvent {
	return &ActionEvent{ID: ids.UUID(), ActionID: actionID, Event: event, Host: host, StartTime: start}
}

func actionNotFound(requestID string) error {
	return fault.New(fault.NotFound, "Action for request_id %s on instance could not be found", requestID)
}
