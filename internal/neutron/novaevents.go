package neutron

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/hastack/hastack/internal/ids"
)

const (
	eventBatch    = 100
	eventAttempts = 12
	eventLease    = 20 * time.Second
	eventLook     = 10 * time.Second
	eventRetry    = 50 * time.Millisecond // at least, between two tries
)

// eventsFor is what Nova must learn when a server's port changes its status.
func (s *Service) eventsFor(p *Port, status string) []novaEvent {
	if s.clients == nil || !strings.HasPrefix(p.DeviceOwner, ownerComputePrefix) || !ids.IsUUID(p.DeviceID) {
		return nil
	}
	e := novaEvent{
		ID: ids.UUID(), Name: "network-vif-plugged", ServerID: p.DeviceID, PortID: p.ID, Status: "completed",
		DueAt: s.clock.Now(), CreatedAt: s.clock.Now(),
	}
	switch status {
	case statusDown:
		e.Name = "network-vif-unplugged"
	case statusError:
		e.Status = "failed"
	}
	return []novaEvent{e}
}

func (s *Service) wakeNova() {
	select {
	case s.events <- struct{}{}:
	default:
	}
}

// novaLoop sends what is due. The rows are the truth: they were written with
// the status they tell of, and go when Nova has taken them.
func (s *Service) novaLoop(ctx context.Context) {
	if s.clients == nil {
		return
	}
	behind := false // some event was postponed
	for {
		n, err := s.sendNovaEvents(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "nova was not told of its ports", "error", err)
			behind = true
		}
		if err == nil && n == eventBatch {
			continue
		}
		wait := eventLook
		if behind {
			wait, behind = s.untilNextEvent(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.events:
		case <-s.clock.After(wait):
		}
	}
}

// untilNextEvent is how long to wait for the earliest event that is left, and
// whether any is.
func (s *Service) untilNextEvent(ctx context.Context) (time.Duration, bool) {
	due, err := s.earliestEvent(ctx)
	if err != nil {
		return eventRetry, true
	}
	if due.IsZero() {
		return eventLook, false
	}
	return min(max(due.Sub(s.clock.Now()), eventRetry), eventLook), true
}

// sendNovaEvents sends one batch and returns how many events it held.
func (s *Service) sendNovaEvents(ctx context.Context) (int, error) {
	events, err := s.claimEvents(ctx, eventBatch)
	if err != nil || len(events) == 0 {
		return 0, err
	}
	sendCtx, cancel := context.WithTimeout(ctx, eventLease/2)
	defer cancel()
	if err := s.postEvents(sendCtx, events); err != nil {
		return len(events), errors.Join(err, s.postponeEvents(ctx, events))
	}
	return len(events), s.dropEvents(ctx, events)
}

func (s *Service) postEvents(ctx context.Context, events []novaEvent) error {
	type event struct {
		Name     string `json:"name"`
		ServerID string `json:"server_uuid"`
		Tag      string `json:"tag"`
		Status   string `json:"status"`
	}
	list := make([]event, 0, len(events))
	for _, e := range events {
		list = append(list, event{e.Name, e.ServerID, e.PortID, e.Status})
	}
	c, err := s.clients.Compute(ctx)
	if err != nil {
		return err
	}
	resp, err := c.Post(ctx, c.ServiceURL("os-server-external-events"), map[string]any{"events": list}, nil,
		&gophercloud.RequestOpts{OkCodes: []int{200, 207}})
	if err == nil {
		return resp.Body.Close()
	}
	var code gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &code) && (code.Actual == 404 || code.Actual == 422) {
		return nil // none of the servers exists any more
	}
	return err
}
