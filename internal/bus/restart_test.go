package bus_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/bus"
)

// A confirmed cast outlives the broker's power cut, and clients and servers
// find it again. The queues are older than the cut: RabbitMQ 3.10 writes down
// which quorum queues it has at a clean stop and every three minutes, and
// forgets those that are younger when all of its nodes lose power at once.
func TestRabbitCastsSurviveAPowerCut(t *testing.T) {
	rabbitURL(t)
	if os.Getuid() != 0 {
		t.Skip("starting a broker of its own needs root")
	}
	if testing.Short() {
		t.Skip("a broker takes half a minute to start three times")
	}
	br := startBroker(t)
	client := dial(t, bus.Options{}, br.url)
	to := bus.Target{Topic: newTopic(), Host: "h"}
	stop, err := client.Serve(t.Context(), to.Topic, to.Host, bus.NewMux().Handle) // makes the queues
	if err != nil {
		t.Fatal(err)
	}
	stop()
	br.stop(t)
	br.start(t)
	const n = 20
	for i := range n {
		if err := client.Cast(deadline(t, 20*time.Second), to, "note", i); err != nil {
			t.Fatal(err)
		}
	}
	br.cut(t)
	br.start(t)
	got := &numbers{seen: map[int]bool{}}
	m := bus.NewMux()
	bus.On(m, "note", got.note)
	if _, err := client.Serve(deadline(t, 60*time.Second), to.Topic, to.Host, m.Handle); err != nil {
		t.Fatal(err)
	}
	for range 600 {
		if got.len() == n {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%d of %d casts came back", got.len(), n)
}

type numbers struct {
	mu   sync.Mutex
	seen map[int]bool
}

func (n *numbers) note(_ context.Context, i int) (any, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen[i] = true
	return nil, nil
}

func (n *numbers) len() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.seen)
}

type broker struct{ script, dir, port, url string }

func startBroker(t *testing.T) *broker {
	t.Helper()
	script, err := filepath.Abs("../../test/engines/rabbitmq.sh")
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: the broker's user may not pass its parent.
	dir, err := os.MkdirTemp("", "hastack-broker-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b := &broker{script: script, dir: dir, port: lowPort(t)}
	t.Cleanup(func() { _ = exec.Command(script, "stop", b.dir).Run() })
	b.start(t)
	return b
}

func (b *broker) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(b.script, "start", b.dir, b.port)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("start a broker: %v", err)
	}
	_, _ = fmt.Sscan(string(out), &b.url)
}

// stop ends the broker cleanly, as an upgrade does.
func (b *broker) stop(t *testing.T) {
	t.Helper()
	if out, err := exec.Command(b.script, "stop", b.dir).CombinedOutput(); err != nil {
		t.Fatalf("stop the broker: %v: %s", err, out)
	}
}

// cut kills the broker with -9.
func (b *broker) cut(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", `kill -9 "$(cat "$0/pid")"; sleep 0.5`, b.dir).CombinedOutput(); err != nil {
		t.Fatalf("kill the broker: %v: %s", err, out)
	}
	b.stop(t) // its helpers
}

// lowPort finds three free ports in a row, below those of outgoing connections.
func lowPort(t *testing.T) string {
	t.Helper()
	for port := 21000; port < 29000; port += 7 {
		if free(port) && free(port+1) && free(port+2) {
			return fmt.Sprint(port)
		}
	}
	t.Fatal("no free ports")
	return ""
}

func free(port int) bool {
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		_ = ln.Close()
	}
	return err == nil
}
