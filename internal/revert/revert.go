// Package revert is an undo stack for host-side work inside one call: create
// the tap, push "delete the tap", go on; whoever leaves early unwinds.
//
//	undo := revert.New(log)
//	defer undo.Fail(ctx)
//	if err := addTap(ctx, name); err != nil {
//		return err
//	}
//	undo.Push("delete tap "+name, func(ctx context.Context) error { return deleteTap(ctx, name) })
//	...
//	undo.Success()
//	return nil
//
// It does not survive the process: what must is an operation, whose steps are
// idempotent and meet what an interrupted unwinding left.
package revert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// unwindWithin bounds the whole unwinding: the context of the failed call has
// often ended already and cannot be what limits it.
const unwindWithin = 30 * time.Second

// A Stack collects undos. It is used by one goroutine.
type Stack struct {
	log   *slog.Logger
	undos []undo
}

type undo struct {
	what string
	f    func(ctx context.Context) error
}

// New returns an empty stack; log may be nil.
func New(log *slog.Logger) *Stack {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Stack{log: log}
}

// Push adds the undo of an effect that has just been made. what says it in
// words for the log ("delete tap tap1234").
func (s *Stack) Push(what string, f func(ctx context.Context) error) {
	s.undos = append(s.undos, undo{what, f})
}

// Success forgets everything: the work stands.
func (s *Stack) Success() { s.undos = nil }

// Fail runs what was pushed, last first, each even if another failed or
// panicked. It goes on when ctx has ended, for a limited time. After Success it
// does nothing, so it is deferred right after New. The errors are logged, and
// returned for those who want them.
func (s *Stack) Fail(ctx context.Context) error {
	if len(s.undos) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unwindWithin)
	defer cancel()
	var all error
	for len(s.undos) > 0 {
		u := s.undos[len(s.undos)-1]
		s.undos = s.undos[:len(s.undos)-1]
		if err := run(ctx, u); err != nil {
			s.log.WarnContext(ctx, "undo", "what", u.what, "error", err.Error())
			all = errors.Join(all, fmt.Errorf("%s: %w", u.what, err))
		}
	}
	return all
}

func run(ctx context.Context, u undo) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return u.f(ctx)
}
