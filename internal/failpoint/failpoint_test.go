package failpoint

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

func TestCrash(t *testing.T) {
	if os.Getenv(Env) != "" {
		_ = At(t.Context(), "x.y.before-effect")
		os.Exit(0) // not reached
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrash$")
	cmd.Env = append(os.Environ(), Env+"=a=error;x.y.*=crash")
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != CrashCode {
		t.Fatalf("child ended with %v, want exit code %d", err, CrashCode)
	}
}

func TestActions(t *testing.T) {
	defer Disarm()
	if err := Arm("e=error:disk full;once=error@1#1;d=drop;h=hang;s=delay:1ms"); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := At(ctx, "e"); !errors.Is(err, ErrInjected) || err.Error() != "e: failpoint: injected error: disk full" {
		t.Errorf("error: %v", err)
	}
	if a, b, c := At(ctx, "once"), At(ctx, "once"), At(ctx, "once"); a != nil || b == nil || c != nil {
		t.Errorf("@1#1: %v, %v, %v", a, b, c)
	}
	if err := At(ctx, "d"); !errors.Is(err, ErrDropped) {
		t.Errorf("drop: %v", err)
	}
	if err := At(ctx, "s"); err != nil {
		t.Errorf("delay: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := At(short, "h"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hang: %v", err)
	}
	if err := At(ctx, "unarmed"); err != nil {
		t.Errorf("unarmed: %v", err)
	}
	Disarm("e")
	if err := At(ctx, "e"); err != nil {
		t.Errorf("disarmed: %v", err)
	}
}

func TestBadSpecArmsNothing(t *testing.T) {
	defer Disarm()
	for _, spec := range []string{"a", "=crash", "a=boom", "a=delay", "a=error#x", "a=error;b=crash:now"} {
		if err := Arm(spec); err == nil {
			t.Errorf("Arm(%q) succeeded", spec)
		}
	}
	if err := At(t.Context(), "a"); err != nil {
		t.Errorf("a refused spec armed a point: %v", err)
	}
}

func TestTrace(t *testing.T) {
	defer Disarm()
	Trace()
	_ = At(t.Context(), "b")
	_ = At(t.Context(), "a")
	_ = At(t.Context(), "b")
	if got := Passed(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("Passed() = %v", got)
	}
}

func BenchmarkOff(b *testing.B) {
	ctx := b.Context()
	for b.Loop() {
		if At(ctx, "x") != nil {
			b.Fatal()
		}
	}
}
