package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/topology"
)

// TestOneMachineIsDrilled kills the process of a whole cloud, which has no
// spare, and starts it again: an outage that must be seen, and no lost write.
// HASTACK_BIN names the binary; HASTACK_DRILL_REPORT keeps the report.
func TestOneMachineIsDrilled(t *testing.T) {
	bin := os.Getenv("HASTACK_BIN")
	if bin == "" {
		t.Skip("HASTACK_BIN does not name the binary to drill")
	}
	dir := filepath.Join(t.TempDir(), "state")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := l.Addr().String()
	_ = l.Close()
	hastack := func(ctx context.Context, args ...string) error {
		out, err := exec.CommandContext(ctx, bin, append(args, "--state-dir", dir)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", args[0], err, out)
		}
		return nil
	}
	up := func(ctx context.Context) error {
		return hastack(ctx, "up", "--listen", listen, "--driver", "fake", "--no-server")
	}
	if err := up(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := hastack(ctx, "reset", "--yes"); err != nil {
			t.Error(err)
		}
	})
	secrets, err := config.LoadSecrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + listen
	target := &Target{Topology: &topology.Topology{Name: "one"}, Clock: clock.System, HTTP: &http.Client{Timeout: time.Second},
		Access: Access{Public: base, API: base, User: "admin", Password: secrets.AdminPassword, Project: "admin"},
		Healthy: func(ctx context.Context) error {
			var any object
			return getJSON(ctx, http.DefaultClient, base+"/identity/v3", &any)
		}}
	kill := &Fault{Name: "the process: kill -9", Suite: SuiteProcess, Kind: "whole cloud", Hold: 2 * time.Second,
		Inject: func(context.Context) error { return killDaemon(dir) }, Heal: up, Blackout: true}
	report := os.Getenv("HASTACK_DRILL_REPORT")
	if report == "" {
		report = t.TempDir()
	}
	r, err := Do(t.Context(), target, []*Fault{kill}, Options{Rounds: 2, Dir: report, WriteEvery: 200 * time.Millisecond, BootPause: time.Second, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	for i, round := range r.Faults[0].Rounds {
		t.Logf("round %d: window %d ms, retry %d, writes %d, heal %d, serving %d, acked %d, boots %+v, audit %+v, stall %d, rejected %q, problems %v",
			i, round.WindowMS, round.RetryWindowMS, round.WriteWindowMS, round.HealWindowMS, round.ServingMS, round.Acked, round.Boots, round.Audit, round.StallProber, round.Rejected, round.Problems)
		if round.WindowMS < 1500 || round.FailedRetry == 0 {
			t.Errorf("the cloud was away for 2 s and only %d ms were seen", round.WindowMS)
		}
		if round.Acked < 20 || round.Boots.Active == 0 || round.Audit.CleanMS < 0 {
			t.Errorf("acked %d, boots %+v, audit %+v", round.Acked, round.Boots, round.Audit)
		}
	}
	if r.Failed() {
		t.Errorf("broken: %+v\n%s", r.Ledgers, Markdown(r))
	}
	for _, name := range []string{jsonFile, markdownFile, htmlFile} {
		if _, err := os.Stat(filepath.Join(report, name)); err != nil {
			t.Error(err)
		}
	}
}

// killDaemon kills the process of the state directory.
func killDaemon(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "run", "cloud.json"))
	if err != nil {
		return err
	}
	var d struct{ PID int }
	if err := json.Unmarshal(b, &d); err != nil {
		return err
	}
	return syscall.Kill(d.PID, syscall.SIGKILL)
}
