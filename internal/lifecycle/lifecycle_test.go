package lifecycle_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/hastack/hastack/internal/lifecycle"
)

func part(log *[]string, name string, startErr error) lifecycle.Part {
	return lifecycle.Part{
		Name:  name,
		Start: func(context.Context) error { *log = append(*log, "start "+name); return startErr },
		Run:   func(ctx context.Context) error { <-ctx.Done(); return nil },
		Stop:  func(context.Context) error { *log = append(*log, "stop "+name); return nil },
	}
}

func TestPartsStopInReverseOrder(t *testing.T) {
	var log []string
	ctx, cancel := context.WithCancel(t.Context())
	err := lifecycle.Run(ctx, slog.New(slog.DiscardHandler), []lifecycle.Part{part(&log, "a", nil), part(&log, "b", nil)}, cancel)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"start a", "start b", "stop b", "stop a"}; !slices.Equal(log, want) {
		t.Errorf("order %v, want %v", log, want)
	}
}

func TestAFailedStartUndoesTheOthers(t *testing.T) {
	var log []string
	boom := errors.New("boom")
	err := lifecycle.Run(t.Context(), slog.New(slog.DiscardHandler), []lifecycle.Part{part(&log, "a", nil), part(&log, "b", boom), part(&log, "c", nil)}, nil)
	if !errors.Is(err, boom) {
		t.Fatalf("error %v, want boom", err)
	}
	if want := []string{"start a", "start b", "stop a"}; !slices.Equal(log, want) {
		t.Errorf("order %v, want %v", log, want)
	}
}

func TestAPartThatEndsByItselfStopsTheOthers(t *testing.T) {
	var log []string
	dies := lifecycle.Part{Name: "dies", Run: func(context.Context) error { return errors.New("lost its disk") }}
	err := lifecycle.Run(t.Context(), slog.New(slog.DiscardHandler), []lifecycle.Part{part(&log, "a", nil), dies}, nil)
	if err == nil || err.Error() != "run dies: lost its disk" {
		t.Fatalf("error %v", err)
	}
	if !slices.Contains(log, "stop a") {
		t.Errorf("a was not stopped: %v", log)
	}
}
