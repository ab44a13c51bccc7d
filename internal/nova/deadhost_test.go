package nova_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/nova/novatest"
	"github.com/hastack/hastack/internal/nova/virt/fake"
)

// hostFiles are what the fake hypervisor of a host keeps of a server.
func hostFiles(t *testing.T, dir, host, server string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, host, server+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestBootOfAHostThatDiesInTheMiddleGoesElsewhereAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	slow := map[string]time.Duration{}
	c := novatest.New(t, novatest.WithHosts("host1"),
		novatest.WithConfig(nova.Config{RecastAfter: time.Minute}),
		novatest.WithDriver(func(host string, cfg *fake.Config) {
			cfg.Dir, cfg.Delay = filepath.Join(dir, host), slow
			if host == "host1" {
				cfg.Delay = map[string]time.Duration{"Start": time.Minute}
			}
		}))
	id := c.Create(c.Flavor("small"), nil)
	server := func() *nova.Server {
		s, err := c.Nova.Server(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	c.Eventually("host1 is at work", func() bool {
		return server().TaskState == nova.TaskSpawning && len(hostFiles(t, dir, "host1", id)) > 0
	})
	c.StopHost("host1")
	c.StartHost("host2")
	// Its silence would be noticed in a minute; an operator who knows is faster.
	services, err := c.Nova.HostServices(t.Context(), "host1", nova.BinaryCompute)
	if err != nil || len(services) != 1 {
		t.Fatalf("services of host1: %v %v", services, err)
	}
	c.Must(200, 93, "admin", "PUT", "/os-services/"+services[0].ID, M{"forced_down": true})
	begin := time.Now()
	for server().VMState != nova.Active && time.Since(begin) < 30*time.Second {
		time.Sleep(20 * time.Millisecond)
	}
	if s := server(); s.VMState != nova.Active || s.Host != "host2" || c.Neighbours.ClaimHost(id) != "host2" {
		t.Fatalf("server is %s on %q, claimed on %q: %v", s.VMState, s.Host, c.Neighbours.ClaimHost(id), s.Fault)
	}
	if n := len(c.Neighbours.Ports(id)); n != 1 {
		t.Errorf("%d ports, want 1", n)
	}
	if len(hostFiles(t, dir, "host1", id)) == 0 {
		t.Fatal("host1 left nothing: the test tests nothing")
	}
	c.StartHost("host1")
	c.Eventually("host1 clears what it left", func() bool { return len(hostFiles(t, dir, "host1", id)) == 0 })
	if s := server(); s.VMState != nova.Active || s.Host != "host2" || len(hostFiles(t, dir, "host2", id)) == 0 {
		t.Errorf("clearing host1 hurt the server: %s on %s", s.VMState, s.Host)
	}
}

func TestServerThatTheDatabaseDoesNotKnowIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	c := novatest.New(t, novatest.WithDriver(func(host string, cfg *fake.Config) { cfg.Dir = filepath.Join(dir, host) }))
	id := c.Boot(c.Flavor("small"), nil)
	c.StopHost("host1")
	const stranger = "9a9b9c9d-0000-4000-8000-000000000077"
	b, err := os.ReadFile(filepath.Join(dir, "host1", id+".json"))
	if err != nil {
		t.Fatal(err)
	}
	text := []byte(strings.ReplaceAll(string(b), id, stranger))
	if err := os.WriteFile(filepath.Join(dir, "host1", stranger+".json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	c.StartHost("host1")
	time.Sleep(500 * time.Millisecond)
	if len(hostFiles(t, dir, "host1", stranger)) == 0 {
		t.Error("a server was destroyed because the database does not know it")
	}
}
