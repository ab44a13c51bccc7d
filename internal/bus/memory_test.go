package bus_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/bus/bustest"
	"github.com/hastack/hastack/internal/fault"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	bustest.Run(t, func(t *testing.T, o bus.Options) bus.Bus { return bus.NewMemoryWith(o) })
}

func TestMemoryCallToNobodyFailsAfterTheGrace(t *testing.T) {
	b := bus.NewMemoryWith(bus.Options{Grace: 50 * time.Millisecond})
	defer b.Close()
	err := b.Call(t.Context(), bus.Target{Topic: "none"}, "x", nil, nil)
	if !fault.Is(err, fault.Unavailable) {
		t.Fatalf("error = %v, want Unavailable", err)
	}
}

func TestMemoryCallWaitsTheGraceForAServer(t *testing.T) {
	b := bus.NewMemoryWith(bus.Options{Grace: 5 * time.Second})
	defer b.Close()
	time.AfterFunc(50*time.Millisecond, func() {
		_, _ = b.Serve(t.Context(), "late", "", func(context.Context, *bus.Message) (any, error) { return nil, nil })
	})
	if err := b.Call(t.Context(), bus.Target{Topic: "late"}, "x", nil, nil); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkMemoryCall(b *testing.B) {
	m := bus.NewMemory(nil)
	defer m.Close()
	var n atomic.Int64
	stop, err := m.Serve(b.Context(), "bench", "", func(context.Context, *bus.Message) (any, error) {
		return n.Add(1), nil
	})
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	for b.Loop() {
		var out int64
		if err := m.Call(b.Context(), bus.Target{Topic: "bench"}, "x", "arg", &out); err != nil {
			b.Fatal(err)
		}
	}
}
