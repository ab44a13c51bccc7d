// Package lifecycle starts the parts of a process in order and stops them in
// reverse, each with a deadline; a part that fails to start, or that ends by
// itself, stops the others. See [Run].
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// StopTimeout bounds how long one part may take to stop.
const StopTimeout = 10 * time.Second

// A Part is something that runs until its context ends.
type Part struct {
	Name string
	// Start makes the part ready and returns; nil if there is nothing to do.
	Start func(ctx context.Context) error
	// Run works until ctx ends; nil if Start began everything.
	Run func(ctx context.Context) error
	// Stop is called after Run has returned; nil if there is nothing to do.
	Stop func(ctx context.Context) error
}

type running struct {
	part   Part
	cancel context.CancelFunc
	done   chan error
}

// Run starts the parts in order, calls ready, and waits until ctx ends or a
// part fails. It returns after every started part has stopped, with the error
// of the part that failed first, if any.
func Run(ctx context.Context, log *slog.Logger, parts []Part, ready func()) error {
	var up []*running
	failed := make(chan error, len(parts))
	err := func() error {
		for _, p := range parts {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // told to end while starting: no failure
			}
			r, err := start(ctx, p, failed)
			if err != nil {
				return err
			}
			up = append(up, r)
		}
		if ready != nil {
			ready()
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		}
	}()
	for _, u := range slices.Backward(up) {
		if serr := u.stop(ctx); serr != nil {
			log.Error("part did not stop cleanly", "part", u.part.Name, "error", serr)
		}
	}
	return err
}

func start(ctx context.Context, p Part, failed chan<- error) (*running, error) {
	if p.Start != nil {
		if err := p.Start(ctx); err != nil {
			return nil, fmt.Errorf("start %s: %w", p.Name, err)
		}
	}
	// Parts end one by one in reverse order, not all at once with ctx.
	rctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{part: p, cancel: cancel, done: make(chan error, 1)}
	go func() {
		if p.Run == nil {
			<-rctx.Done()
			r.done <- nil
			return
		}
		err := p.Run(rctx)
		if rctx.Err() == nil {
			if err == nil {
				err = errors.New("ended by itself")
			}
			failed <- fmt.Errorf("run %s: %w", p.Name, err)
		}
		r.done <- nil
	}()
	return r, nil
}

func (r *running) stop(ctx context.Context) error {
	r.cancel()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), StopTimeout)
	defer cancel()
	var err error
	select {
	case err = <-r.done:
	case <-ctx.Done():
		err = fmt.Errorf("still running after %s", StopTimeout)
	}
	if r.part.Stop != nil {
		err = errors.Join(err, r.part.Stop(ctx))
	}
	return err
}
