package db_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/ids"
)

// Three real members behind HAProxy, and a writer of thirty transactions,
// statements and reads a second that is to see nothing of what happens to the
// one that it writes to.

const (
	galeraEnv = "HASTACK_TEST_GALERA" // set to run
	probeEnv  = "HASTACK_GALERA_PROBE"
)

// A probed is what the probe saw between two faults.
type probed struct {
	Acked, Lost, Doubled, Failed int
	Worst                        time.Duration
	Error                        string
}

// TestGaleraProbe is the probe, which runs inside of the clients' namespace: a
// line on its input ends a period, and is answered with what was seen.
func TestGaleraProbe(t *testing.T) {
	target := os.Getenv(probeEnv)
	if target == "" {
		t.Skip("it is a part of TestWritesOutliveTheWriter")
	}
	d, err := db.Open(t.Context(), db.Config{URL: target})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if _, err := d.ExecContext(t.Context(), "CREATE TABLE IF NOT EXISTS probe (id VARCHAR(36) NOT NULL PRIMARY KEY, n INT NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	periods := make(chan struct{})
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			periods <- struct{}{}
		}
		close(periods)
	}()
	_, _ = os.Stdout.WriteString("ready\n")
	for {
		p, more := probePeriod(t.Context(), d, periods)
		if !more {
			return
		}
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString("PROBED " + string(b) + "\n")
	}
}

func probePeriod(ctx context.Context, d *db.DB, end <-chan struct{}) (p probed, more bool) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var acked []string
	tick := time.NewTicker(time.Second / 30)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case _, ok := <-end:
			wg.Wait()
			for _, id := range acked {
				var n int
				err := d.NewRaw("SELECT n FROM probe WHERE id = ?", id).Scan(ctx, &n)
				switch {
				case db.IsNoRows(err):
					p.Lost++
				case err != nil || n != 2:
					p.Doubled++
				}
			}
			p.Acked = len(acked)
			return p, ok
		}
		wg.Go(func() {
			id := ids.UUID()
			began := time.Now()
			err := probeOnce(ctx, d, i%3, id)
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			p.Worst = max(p.Worst, took)
			if err != nil {
				p.Failed++
				p.Error = err.Error()
			} else if i%3 != 2 {
				acked = append(acked, id)
			}
		})
	}
}

func probeOnce(ctx context.Context, d *db.DB, kind int, id string) error {
	switch kind {
	case 0:
		return d.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
			if _, err := tx.ExecContext(ctx, "INSERT INTO probe (id, n) VALUES (?, 1)", id); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "UPDATE probe SET n = n + 1 WHERE id = ?", id)
			return err
		})
	case 1:
		_, err := d.ExecContext(ctx, "INSERT INTO probe (id, n) VALUES (?, 2)", id)
		return err
	}
	var n int
	return d.NewRaw("SELECT COUNT(*) FROM probe WHERE id = 'nobody'").Scan(ctx, &n)
}

func TestWritesOutliveTheWriter(t *testing.T) {
	switch {
	case os.Getenv(galeraEnv) == "":
		t.Skip(galeraEnv + " is not set")
	case os.Getuid() != 0:
		t.Skip("network namespaces need root")
	}
	g := startGalera(t)
	for _, c := range []struct {
		name        string
		fault, back string
	}{
		{"kill -9", "kill", "run"},
		{"frozen", "freeze", "thaw"},
		{"cut off", "cut", "heal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.period(t)
			time.Sleep(2 * time.Second)
			writer := g.do(t, "writer")
			g.do(t, c.fault, writer)
			time.Sleep(8 * time.Second)
			g.do(t, c.back, writer)
			time.Sleep(2 * time.Second)
			p := g.period(t)
			t.Logf("member %s: %d acknowledged, %d lost, %d doubled, %d failed, the longest took %v", writer, p.Acked, p.Lost, p.Doubled, p.Failed, p.Worst)
			if p.Lost+p.Doubled+p.Failed > 0 || p.Acked == 0 {
				t.Errorf("%+v", p)
			}
			if p.Worst > 10*time.Second { // about 2 s on an idle machine
				t.Errorf("a request took %v", p.Worst)
			}
			g.do(t, "await")
		})
	}
}

// A galeraCluster is the members, and the probe.
type galeraCluster struct {
	script, name, dir string
	in                io.Writer
	out               *bufio.Scanner
}

func startGalera(t *testing.T) *galeraCluster {
	t.Helper()
	script, err := filepath.Abs("../../test/engines/galera.sh")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "hastack-galera-") // its user may not pass t.TempDir's parent
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // mysql has to get in
		t.Fatal(err)
	}
	g := &galeraCluster{script: script, name: fmt.Sprintf("g%d", os.Getpid()%100_000), dir: dir}
	t.Cleanup(func() {
		_ = exec.Command(script, "stop", g.name, dir).Run()
		_ = os.RemoveAll(dir)
	})
	url := g.do(t, "start")
	probe := exec.Command("ip", "netns", "exec", g.name+"-op", os.Args[0], "-test.run=^TestGaleraProbe$", "-test.v")
	probe.Env = append(os.Environ(), probeEnv+"="+url)
	probe.Stderr = os.Stderr
	in, err := probe.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := probe.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := probe.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = probe.Wait() })
	g.in, g.out = in, bufio.NewScanner(out)
	for g.out.Scan() {
		if g.out.Text() == "ready" {
			return g
		}
	}
	t.Fatal("the probe does not start")
	return nil
}

// do runs the script and returns what it printed.
func (g *galeraCluster) do(t *testing.T, what string, more ...string) string {
	t.Helper()
	cmd := exec.Command(g.script, append([]string{what, g.name, g.dir}, more...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v", what, more, err)
	}
	return strings.TrimSpace(string(out))
}

// period ends a period of the probe.
func (g *galeraCluster) period(t *testing.T) probed {
	t.Helper()
	if _, err := io.WriteString(g.in, "\n"); err != nil {
		t.Fatal(err)
	}
	for g.out.Scan() {
		if text, ok := strings.CutPrefix(g.out.Text(), "PROBED "); ok {
			var p probed
			if err := json.Unmarshal([]byte(text), &p); err != nil {
				t.Fatal(err)
			}
			return p
		}
	}
	t.Fatal("the probe has ended")
	return probed{}
}
