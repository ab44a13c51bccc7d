package stack

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/tlsfiles/tlstest"
)

// keystoneOnTLS is the configuration of a process that serves keystone alone.
func keystoneOnTLS(t *testing.T) *config.Config {
	t.Helper()
	dir := t.TempDir()
	if _, err := config.EnsureSecrets(dir); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default(dir, l.Addr().String())
	_ = l.Close()
	cfg.Identity.BcryptCost = 4
	cfg.TLS = tlstest.Files(t, "localhost", "127.0.0.1")
	cfg.SetEndpoints("https://" + cfg.Listen)
	return cfg
}

// ask gets a path of the process and returns status and body.
func ask(t *testing.T, cfg *config.Config, path string) (int, string, error) {
	t.Helper()
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: tlstest.Roots(t, cfg.TLS)}, DisableKeepAlives: true,
	}}
	resp, err := client.Get("https://" + cfg.Listen + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// until waits for something that takes no longer than a moment.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s: not within ten seconds", what)
}

// systemdSocket plays the service manager and collects what it is told.
func systemdSocket(t *testing.T) <-chan string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "400000")
	told := make(chan string, 100)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				close(told)
				return
			}
			for line := range strings.Lines(string(buf[:n])) {
				select {
				case told <- strings.TrimSpace(line):
				default:
				}
			}
		}
	}()
	return told
}

// heard collects what systemd is told until want comes.
func heard(t *testing.T, told <-chan string, want string) []string {
	t.Helper()
	var all []string
	for {
		select {
		case s := <-told:
			if all = append(all, s); s == want {
				return all
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s is not said; heard %q", want, all)
		}
	}
}

func TestProcessOverTLSTellsSystemdAndDrains(t *testing.T) {
	told := systemdSocket(t)
	cfg := keystoneOnTLS(t)
	cfg.DrainSeconds = 0.6
	ctx, cancel := context.WithCancel(t.Context())
	s, err := New(ctx, cfg, []string{"keystone"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if code, body, err := ask(t, cfg, "/healthcheck"); err != nil || code != 503 || !strings.Contains(body, "services") {
		t.Errorf("before it runs: %d %s %v", code, body, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, nil) }()
	heard(t, told, "READY=1")
	until(t, "ready", func() bool { code, _, err := ask(t, cfg, "/healthcheck"); return err == nil && code == 200 })
	heard(t, told, "WATCHDOG=1")
	if code, body, err := ask(t, cfg, "/identity/v3"); err != nil || code != 200 || !strings.Contains(body, "https://"+cfg.Listen) {
		t.Errorf("identity: %d %s %v", code, body, err)
	}
	if resp, err := http.Get("http://" + cfg.Listen + "/healthcheck"); err == nil {
		if resp.StatusCode == 200 {
			t.Error("it answers in the clear")
		}
		_ = resp.Body.Close()
	}
	cancel()
	heard(t, told, "STOPPING=1")
	code, body, err := ask(t, cfg, "/healthcheck")
	if err != nil || code != 404 || !strings.Contains(body, "stopping") {
		t.Errorf("while it drains: %d %s %v", code, body, err)
	}
	if code, _, err := ask(t, cfg, "/identity/v3"); err != nil || code != 200 {
		t.Errorf("requests while it drains: %d %v", code, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, _, err := ask(t, cfg, "/healthcheck"); err == nil {
		t.Error("it answers after its end")
	}
}

func TestReadinessDoesNotFlap(t *testing.T) {
	good := true
	s := &Stack{probes: []probe{{"keystone", func(context.Context) bool { return good }}}}
	s.serving.Store(true)
	good = false
	if w := s.waiting(t.Context()); !slices.Equal(w, []string{"keystone"}) {
		t.Errorf("waits for %v", w)
	}
	good = true
	if w := s.waiting(t.Context()); len(w) != 0 {
		t.Errorf("waits for %v", w)
	}
	good = false
	if w := s.waiting(t.Context()); len(w) != 0 {
		t.Errorf("a neighbour that is away for a moment makes it unready: %v", w)
	}
	s.draining.Store(true)
	if w := s.waiting(t.Context()); len(w) != 1 {
		t.Error("it is ready while it stops")
	}
}

func TestWaitingForAnEngineIsSaidAndEnds(t *testing.T) {
	told := systemdSocket(t)
	s := &Stack{log: slog.New(slog.DiscardHandler), systemd: newSystemd()}
	var said []string
	n := 0
	err := s.await(t.Context(), "the bus", func(context.Context) error {
		if n++; n < 3 {
			said = append(said, s.waiting(t.Context())...)
			return io.ErrUnexpectedEOF
		}
		return nil
	})
	if err != nil || n != 3 || !slices.Equal(said, []string{"the bus", "the bus"}) {
		t.Errorf("%v after %d tries, said %v", err, n, said)
	}
	heard(t, told, "STATUS=waiting for the bus")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.await(ctx, "the bus", func(context.Context) error { return io.ErrUnexpectedEOF }); err == nil {
		t.Error("it does not end with its context")
	}
}

func TestHostOfAgentsRefusesRolesWithADatabase(t *testing.T) {
	cfg := keystoneOnTLS(t)
	cfg.Database.URL = config.NewSecret("")
	_, err := New(t.Context(), cfg, []string{"placement"}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "placement needs a database") {
		t.Error(err)
	}
}

func TestBootstrapTellsPublicAndInternalEndpoints(t *testing.T) {
	cfg := keystoneOnTLS(t)
	cfg.InternalEndpoints = map[string]string{"compute": "https://10.3.0.100/compute"}
	s := &Stack{cfg: cfg, secrets: &config.Secrets{}}
	b, err := json.Marshal(s.bootstrap().Services)
	if err != nil {
		t.Fatal(err)
	}
	want := `"PublicURL":"https://` + cfg.Listen + `/compute/v2.1","InternalURL":"https://10.3.0.100/compute/v2.1","AdminURL":"https://10.3.0.100/compute/v2.1"`
	if !strings.Contains(string(b), want) {
		t.Errorf("%s lacks %s", b, want)
	}
}
