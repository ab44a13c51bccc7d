package vipguard

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

func testGuard(t *testing.T, cfg Config, kill func(context.Context, string) error) *Guard {
	t.Helper()
	cfg.StateDir = t.TempDir()
	return New(&cfg, Deps{Clock: clock.System, Log: slog.New(slog.DiscardHandler), Kill: kill, RunDir: cfg.StateDir})
}

func (g *Guard) read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(g.cfg.StateDir, file))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

// eventually waits for a file to say what is wanted.
func (g *Guard) eventually(t *testing.T, file, want string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if g.read(t, file) == want {
			return
		}
	}
	t.Fatalf("%s says %q, want %q", file, g.read(t, file), want)
}

func TestHAProxyThatHangsGivesTheAddressesAwayAndGetsThemBack(t *testing.T) {
	var hang atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		for hang.Load() && r.Context().Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
	}))
	defer server.Close()
	g := testGuard(t, Config{HAProxy: strings.TrimPrefix(server.URL, "http://")}, nil)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- g.watchHAProxy(ctx) }()
	defer func() { cancel(); <-done }()

	hang.Store(true)
	g.eventually(t, AnswersFile, "1")
	hang.Store(false)
	g.eventually(t, AnswersFile, "0")
}

// stepClock counts a second for every look at the time.
type stepClock struct {
	clock.Clock
	now atomic.Int64
}

func (c *stepClock) Now() time.Time { return time.Unix(c.now.Add(1), 0) }

func TestHAProxyThatGoesOnHangingIsKilled(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() // accepts in the kernel and never answers
	killed := make(chan string, 8)
	g := testGuard(t, Config{HAProxy: silent.Addr().String()}, func(_ context.Context, unit string) error {
		killed <- unit
		return nil
	})
	g.clock = &stepClock{Clock: clock.System}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.watchHAProxy(ctx) }()
	select {
	case unit := <-killed:
		if unit != haproxyUnit {
			t.Errorf("killed %s", unit)
		}
	case <-time.After(20 * time.Second):
		t.Error("a haproxy that hangs was left alone")
	}
	cancel()
	<-done
}

func TestRivalIsOneThatAdvertisesForAWhile(t *testing.T) {
	var r row
	now := time.Unix(1000, 0)
	for at := time.Duration(0); at < rivalPatience; at += 200 * time.Millisecond {
		if r.heard(now.Add(at)) {
			t.Errorf("after %s a change of master may still be going on", at)
		}
	}
	if !r.heard(now.Add(rivalPatience)) {
		t.Error("one who goes on advertising is a rival")
	}
	if r.heard(now.Add(3 * time.Second)) {
		t.Error("an advert after a pause begins anew")
	}
}

func TestProcessThatWasStoppedIsTold(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "sleep 60 & wait")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	pid := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(pid, []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if stopped(pid) {
		t.Error("a process that runs counts as stopped")
	}
	wait := func(want bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); stopped(pid) != want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("stopped is not %v", want)
			}
		}
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wait(true)
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	wait(false)
	if stopped(pid + ".none") {
		t.Error("a daemon that is not there counts as stopped")
	}
}

func TestAdvertsAreReadAndRubbishIsNot(t *testing.T) {
	if a, ok := parseAdvert([]byte{0x31, 51, 250, 1, 0, 20, 0, 0, 10, 3, 0, 100}); !ok || a.id != 51 || a.priority != 250 {
		t.Errorf("advert: %+v, %v", a, ok)
	}
	for _, b := range [][]byte{nil, {0x31}, {0x32, 51, 250, 1, 0, 20, 0, 0}, {0x51, 51, 250, 1, 0, 20, 0, 0}} {
		if _, ok := parseAdvert(b); ok {
			t.Errorf("%x was read as an advert", b)
		}
	}
}

func TestLegsThatAreNotThereSayNothing(t *testing.T) {
	if up, err := anyUp([]string{"no-such-leg0", "no-such-leg1"}); err != nil || !up {
		t.Errorf("up %v, %v", up, err)
	}
	if up, err := anyUp([]string{"no-such-leg0", "lo"}); err != nil || !up {
		t.Errorf("loopback is down: %v, %v", up, err)
	}
}

func TestGuardThatEndsLeavesTheAddressesAlone(t *testing.T) {
	g := testGuard(t, Config{HAProxy: "127.0.0.1:1", VIPs: []VIP{{Name: "api", ID: 51}}}, nil)
	for _, f := range []string{AnswersFile, MajorityFile, SegmentFile("api")} {
		if err := g.write(f, false); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Without the right to open raw sockets it ends with an error; the files
	// must be right all the same.
	_ = g.Run(ctx)
	for _, f := range []string{AnswersFile, MajorityFile, SegmentFile("api")} {
		if got := g.read(t, f); got != "0" {
			t.Errorf("%s says %q", f, got)
		}
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	for name, text := range map[string]string{
		"unknown key": "state_dir: /run/x\nhaproxy: 127.0.0.1:1\naddress: 10.0.0.1\nlegs: []\n",
		"no address":  "state_dir: /run/x\nhaproxy: 127.0.0.1:1\n",
		"nothing":     "",
	} {
		path := filepath.Join(t.TempDir(), "guard.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
