package node

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/tlsfiles"
	"github.com/hastack/hastack/internal/tlsfiles/tlstest"
)

// freePort is an address whose TCP and UDP ports are free.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

func proc() fstest.MapFS {
	return fstest.MapFS{
		"proc/meminfo": file("MemTotal: 2048 kB\nMemAvailable: 1024 kB\n"), "proc/loadavg": file("0.1 0.1 0.1 1/2 3\n"), "proc/uptime": file("10 10\n"),
	}
}

// start runs an agent and waits until it serves.
func start(t *testing.T, cfg *Config) (stop func()) {
	t.Helper()
	a, err := New(cfg, Deps{Clock: clock.System, Log: quiet, Version: "1.2.3", Root: proc()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("agent of %s: %v", cfg.Server, err)
		}
	}
	eventually(t, "the agent of "+cfg.Server+" serves", func() bool {
		c, err := net.Dial("tcp", cfg.Listen.String())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return stop
}

func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for range 400 {
		if so() {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatal("it did not come to pass: ", what)
}

func ask(t *testing.T, client *http.Client, url string) (string, error) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(b), err
}

// TestAgentsHearEachOtherAndTellOnlyTheirOwn runs two agents, reads them as an
// operator does, and takes one away.
func TestAgentsHearEachOtherAndTellOnlyTheirOwn(t *testing.T) {
	dir := t.TempDir()
	pair := tlstest.New(t).Issue(t, dir, 2, time.Now(), "127.0.0.1", "localhost")
	one, two := freePort(t), freePort(t)
	agent := func(name, peer string, at, there netip.AddrPort) *Config {
		return &Config{Server: name, Listen: at, TLS: pair, BeatMS: 100, Certificates: []string{pair.Cert},
			Peers: []PeerConfig{{Name: peer, Address: there}}, Memcached: "127.0.0.1:1"}
	}
	stopOne := start(t, agent("one", "two", one, two))
	defer stopOne()
	stopTwo := start(t, agent("two", "one", two, one))
	files, err := tlsfiles.Open(pair, clock.System)
	if err != nil {
		t.Fatal(err)
	}
	client := localClient(files)
	state := func() *State {
		body, err := ask(t, client, "https://"+one.String()+"/state")
		if err != nil {
			t.Fatal(err)
		}
		s := &State{}
		if err := json.Unmarshal([]byte(body), s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	eventually(t, "one and two hear each other", func() bool {
		s := state()
		return len(s.Peers) == 1 && s.Peers[0].Hears && s.Peers[0].Heard && s.Peers[0].RTT > 0
	})
	if s := state(); s.Server != "one" || s.Version != "1.2.3" || s.Host == nil || s.Host.MemoryTotal != 2<<20 || len(s.Certificates) != 1 {
		t.Errorf("state %+v", s)
	}
	metrics, err := ask(t, client, "https://"+one.String()+"/metrics")
	for _, want := range []string{
		`hastack_peer_up{peer="two"} 1`, `hastack_node_info{node="one",version="1.2.3"} 1`, `hastack_memory_total_bytes 2.097152e+06`,
		`hastack_collector_ok{collector="memcached"} 0`, `hastack_memcached_up 0`,
	} {
		if err != nil || !strings.Contains(metrics, want+"\n") {
			t.Errorf("metrics lack %s (error %v)", want, err)
		}
	}
	stopTwo()
	eventually(t, "one does not hear two", func() bool { p := state().Peers[0]; return !p.Hears && !p.Heard })

	// Whoever has no certificate of the cluster learns nothing.
	stranger, err := tlsfiles.Open(tlstest.Files(t, "localhost"), clock.System)
	if err != nil {
		t.Fatal(err)
	}
	conf := stranger.Client("")
	conf.InsecureSkipVerify = true
	conf.RootCAs = nil
	foreign := &http.Client{Transport: &http.Transport{TLSClientConfig: conf}}
	if body, err := ask(t, foreign, "https://"+one.String()+"/state"); err == nil {
		t.Errorf("a stranger was told %s", body)
	}
}

// TestOneWayNetworkIsSeen lets beats of the peer arrive and say that ours do not.
func TestOneWayNetworkIsSeen(t *testing.T) {
	clk := clock.NewFake(time.Unix(1_700_000_000, 0))
	here, there := netip.MustParseAddrPort("10.3.0.11:9180"), netip.MustParseAddrPort("10.3.0.12:9180")
	deps := Deps{Clock: clk, Log: quiet}
	a := newPeers(&Config{Listen: here, Peers: []PeerConfig{{"b", there}}}, deps)
	b := newPeers(&Config{Listen: there, Peers: []PeerConfig{{"a", here}}}, deps)
	if got := collected(t, a).Peers; len(got) != 0 {
		t.Errorf("a just started and says %+v", got)
	}
	fromB := func() { a.take(b.beat(nil, b.list[0]), there) }
	for range 5 {
		clk.Advance(time.Second)
		fromB()
	}
	if p := collected(t, a).Peers[0]; !p.Hears || p.Heard || !p.OneWay() {
		t.Errorf("one way: %+v", p)
	}
	b.take(a.beat(nil, a.list[0]), here)
	clk.Advance(40 * time.Millisecond)
	fromB()
	if p := collected(t, a).Peers[0]; !p.Hears || !p.Heard {
		t.Errorf("both ways: %+v", p)
	}
	// Neither somebody else's datagram nor half of one says anything.
	clk.Advance(10 * time.Second)
	a.take(b.beat(nil, b.list[0]), netip.MustParseAddrPort("10.3.0.99:9180"))
	a.take([]byte("hsb1"), there)
	if p := collected(t, a).Peers[0]; p.Hears || p.Heard {
		t.Errorf("nothing was heard: %+v", p)
	}
}

func TestRoundTripIsMeasuredWithoutTheTimeThatTheBeatWasHeld(t *testing.T) {
	clk := clock.NewFake(time.Unix(1_700_000_000, 0))
	here, there := netip.MustParseAddrPort("10.3.0.11:9180"), netip.MustParseAddrPort("10.3.0.12:9180")
	deps := Deps{Clock: clk, Log: quiet}
	a := newPeers(&Config{Listen: here, Peers: []PeerConfig{{"b", there}}}, deps)
	b := newPeers(&Config{Listen: there, Peers: []PeerConfig{{"a", here}}}, deps)
	sent := a.beat(nil, a.list[0])
	clk.Advance(2 * time.Millisecond)
	b.take(sent, here)
	clk.Advance(700 * time.Millisecond) // b's next beat is due
	back := b.beat(nil, b.list[0])
	clk.Advance(3 * time.Millisecond)
	a.take(back, there)
	if p := collected(t, a).Peers[0]; p.RTT != 5*time.Millisecond {
		t.Errorf("round trip %s, want 5ms", p.RTT)
	}
}

// panics is a collector that breaks.
type panics struct{}

func (panics) Name() string                           { return "broken" }
func (panics) Every() time.Duration                   { return time.Second }
func (panics) Collect(context.Context) (Facts, error) { panic("out of range") }

func TestBrokenCollectorTakesNobodyWithIt(t *testing.T) {
	a := &Agent{cfg: &Config{Server: "one"}, deps: Deps{Clock: clock.System, Log: quiet},
		collectors: []Collector{panics{}, &hostCollector{root: proc()}},
		facts:      make([]Facts, 2), told: make([]CollectorState, 2), due: make([]time.Time, 2), active: make([]time.Time, 2)}
	for i := range a.collectors {
		if !a.take(i, clock.System.Now()) || a.take(i, clock.System.Now()) {
			t.Error("a collector is not due, or due twice")
		}
		a.look(t.Context(), i)
	}
	s := a.State()
	if !strings.Contains(s.Collectors[0].Error, "out of range") || s.Host == nil || s.Collectors[1].Error != "" {
		t.Errorf("state %+v", s)
	}
}

// stuck is a collector that heeds nothing.
type stuck struct{ until chan struct{} }

func (stuck) Name() string         { return "stuck" }
func (stuck) Every() time.Duration { return time.Second }

func (s stuck) Collect(context.Context) (Facts, error) {
	<-s.until
	return func(s *State) { s.Guests = new(int) }, nil
}

func TestCollectorThatHangsIsNotBelieved(t *testing.T) {
	clk := clock.NewFake(time.Unix(1_700_000_000, 0))
	c := stuck{make(chan struct{}, 2)}
	a := &Agent{cfg: &Config{Server: "one"}, deps: Deps{Clock: clk, Log: quiet}, collectors: []Collector{c},
		facts: make([]Facts, 1), told: make([]CollectorState, 1), due: make([]time.Time, 1), active: make([]time.Time, 1)}
	c.until <- struct{}{}
	a.take(0, clk.Now())
	a.look(t.Context(), 0)
	clk.Advance(time.Second)
	a.take(0, clk.Now())
	done := make(chan struct{})
	go func() { defer close(done); a.look(t.Context(), 0) }()
	if s := a.State(); s.Guests == nil || s.Collectors[0].Error != "" {
		t.Errorf("while it looks: %+v", s.Collectors)
	}
	clk.Advance(9 * time.Second)
	if s := a.State(); s.Guests != nil || !strings.Contains(s.Collectors[0].Error, "has not ended") {
		t.Errorf("when it hangs: %+v", s.Collectors)
	}
	c.until <- struct{}{}
	<-done
	if s := a.State(); s.Guests == nil || s.Collectors[0].Error != "" {
		t.Errorf("when it works again: %+v", s.Collectors)
	}
}

func TestConfigurationRefusesWhatCannotWork(t *testing.T) {
	good := "server: one\nlisten: 10.3.0.11:9180\ntls: {cert: /c, key: /k, ca: /a}\n"
	for text, want := range map[string]string{
		good:                            "",
		good + "surprise: 1\n":          "surprise",
		"server: one\n":                 "listen",
		good + "beat_ms: 5\n":           "beat_ms",
		good + "peers: [{name: two}]\n": "peers",
		"listen: [":                     "node.yaml",
		strings.Replace(good, "key: /k, ", "", 1): "tls",
	} {
		p := filepath.Join(t.TempDir(), "node.yaml")
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadConfig(p)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
	if p := (PlainSecret{config.NewSecret("x")}); p.String() == "x" {
		t.Error("a password is printed")
	}
}
