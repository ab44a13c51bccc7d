package node

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/hastack/hastack/internal/clock"
)

// stepEvery runs the step of something that heals, at once and then every so
// often, until ctx ends. A step that fails is logged as what, and made again.
func stepEvery(ctx context.Context, c clock.Clock, log *slog.Logger, every time.Duration, what string, step func(context.Context) error) error {
	t := c.NewTicker(every)
	defer t.Stop()
	for {
		if err := step(ctx); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, what, "error", err) //nolint:sloglint // each caller's is a constant
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
		}
	}
}

// withSystemd lends a connection to systemd.
func withSystemd(ctx context.Context, do func(*dbus.Conn) error) error {
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return fmt.Errorf("connect to systemd: %w", err)
	}
	defer conn.Close()
	return do(conn)
}
