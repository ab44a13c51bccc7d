package neutron

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// Time is a column that both databases store to the microsecond.
type Time = time.Time

// claimEvents takes due events by moving their time, so that another process
// leaves them alone until this one has surely failed.
func (s *Service) claimEvents(ctx context.Context, limit int) ([]novaEvent, error) {
	now := s.clock.Now()
	events := []novaEvent{}
	err := s.db.NewSelect().Model(&events).Where("due_at <= ?", now).Order("due_at").Limit(int64(limit)).Scan(ctx)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	due := events[:0]
	err = s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		due = events[:0:0]
		for _, e := range events {
			n, err := exec(ctx, tx, "UPDATE nova_events SET due_at = ? WHERE id = ? AND attempts = ? AND due_at <= ?",
				now.Add(eventLease), e.ID, e.Attempts, now)
			if err != nil {
				return fmt.Errorf("claim event: %w", err)
			}
			if n > 0 {
				due = append(due, e)
			}
		}
		return nil
	})
	return due, err
}

// earliestEvent is when the next event is due, zero if there is none.
func (s *Service) earliestEvent(ctx context.Context) (time.Time, error) {
	events := []novaEvent{}
	err := s.db.NewSelect().Model(&events).Order("due_at").Limit(1).Scan(ctx)
	if err != nil || len(events) == 0 {
		return time.Time{}, err
	}
	return events[0].DueAt, nil
}

func (s *Service) dropEvents(ctx context.Context, events []novaEvent) error {
	_, err := exec(ctx, s.db, "DELETE FROM nova_events WHERE id IN (?)", bun.List(eventIDs(events)))
	return err
}

// postponeEvents tries again later, each time twice as late, and gives up on
// events that nobody can be waiting for any more.
func (s *Service) postponeEvents(ctx context.Context, events []novaEvent) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, e := range events {
			wait := min(250*time.Millisecond<<e.Attempts, time.Minute)
			if _, err := exec(ctx, tx, "UPDATE nova_events SET attempts = attempts + 1, due_at = ? WHERE id = ?",
				s.clock.Now().Add(wait), e.ID); err != nil {
				return err
			}
		}
		_, err := exec(ctx, tx, "DELETE FROM nova_events WHERE attempts > ?", eventAttempts)
		return err
	})
}

func eventIDs(events []novaEvent) []string {
	out := make([]string, 0, len(events))
	for _, e := range events {
		out = append(out, e.ID)
	}
	return out
}

// noteReaddressed leaves a note for Nova for each server of which a floating
// address came or went.
func (s *Service) noteReaddressed(ctx context.Context, tx bun.Tx, ch *change) error {
	if len(ch.readdressed) == 0 || s.clients == nil {
		return nil
	}
	ports := []*Port{}
	err := tx.NewSelect().Model(&ports).Column("id", "device_id", "device_owner").Where("id IN (?)", bun.List(ch.readdressed)).Scan(ctx)
	if err != nil {
		return err
	}
	var events []novaEvent
	for _, p := range ports {
		for _, e := range s.eventsFor(p, statusActive) {
			e.Name = "network-changed"
			events = append(events, e)
		}
	}
	if len(events) == 0 {
		return nil
	}
	ch.novaEvents = true
	return insert(ctx, tx, &events)
}

// noteDeleted leaves a note for Nova that a port of a server is gone: the
// server still has the device.
func (s *Service) noteDeleted(ctx context.Context, tx bun.Tx, p *Port, ch *change) error {
	events := s.eventsFor(p, statusActive)
	if len(events) == 0 {
		return nil
	}
	for i := range events {
		events[i].Name = "network-vif-deleted"
	}
	ch.novaEvents = true
	return insert(ctx, tx, &events)
}
