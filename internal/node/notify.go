package node

import (
	"context"
	"log/slog"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notifyReady tells systemd that the agent serves. Without systemd there is
// nobody to tell.
func notifyReady(ctx context.Context, log *slog.Logger) {
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.WarnContext(ctx, "tell systemd", "error", err)
	}
}

// notifyAlive feeds the watchdog: systemd restarts an agent that hangs. That
// it could not be told shows as just that restart.
func notifyAlive() { _, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog) }
