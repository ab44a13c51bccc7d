package nova

import (
	"context"
	"log/slog"
)

// FlushBeats lets a test write heartbeats now.
func (s *Service) FlushBeats(ctx context.Context) error { return s.flushBeats(ctx) }

// DiscardLog is a logger for tests.
func DiscardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
