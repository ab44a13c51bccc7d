package dataplane_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	dt "github.com/hastack/hastack/internal/neutron/dataplane/dataplanetest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// A line is a TCP connection between two guests that echoes.
type line struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dialLine(t *testing.T, from, to *dt.Guest, ip string, port int) *line {
	t.Helper()
	dt.Inside(t, to.NS, func() error {
		l, err := net.Listen("tcp4", fmt.Sprintf("%s:%d", ip, port))
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(c, c) }()
			}
		}()
		return nil
	})
	l := &line{t: t}
	dt.Inside(t, from.NS, func() (err error) {
		l.conn, err = net.DialTimeout("tcp4", fmt.Sprintf("%s:%d", ip, port), 3*time.Second)
		return err
	})
	l.r = bufio.NewReader(l.conn)
	t.Cleanup(func() { _ = l.conn.Close() })
	return l
}

// answers tells whether a word comes back within limit.
func (l *line) answers(word string, limit time.Duration) bool {
	l.t.Helper()
	_ = l.conn.SetDeadline(time.Now().Add(limit))
	if _, err := fmt.Fprintln(l.conn, word); err != nil {
		return false
	}
	return l.hears(word, limit)
}

func (l *line) hears(word string, limit time.Duration) bool {
	_ = l.conn.SetDeadline(time.Now().Add(limit))
	got, err := l.r.ReadString('\n')
	return err == nil && got == word+"\n"
}

func TestSec47RuleRemovalCutsAndRestoresARunningConnection(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	h := newHost(t, dataplaneConfig())
	a, b := pair(t)
	ssh, icmp := rule("ingress", "tcp", 22, 22), rule("ingress", "icmp")
	reconcile(t, h, pairState(ssh, icmp))
	l := dialLine(t, a, b, "10.1.0.12", 22)
	if !l.answers("one", 2*time.Second) {
		t.Fatal("no answer with the rule in place")
	}
	// A change elsewhere leaves it alone.
	reconcile(t, h, pairState(ssh))
	if !l.answers("two", 2*time.Second) {
		t.Fatal("a connection that is still allowed was cut")
	}
	reconcile(t, h, pairState())
	if l.answers("three", time.Second) {
		t.Fatal("the connection goes on without its rule")
	}
	time.Sleep(time.Second) // both ends repeat themselves; neither may reopen it
	if l.hears("three", 500*time.Millisecond) {
		t.Fatal("the connection came back without its rule")
	}
	reconcile(t, h, pairState(ssh))
	if !l.hears("three", 10*time.Second) {
		t.Fatal("the connection does not go on with its rule restored")
	}
	if !l.answers("four", 5*time.Second) {
		t.Fatal("the connection does not go on with its rule restored")
	}
}

func TestEgressRuleRemovalCutsWhatTheGuestBegan(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	h := newHost(t, dataplaneConfig())
	a, b := pair(t)
	st := pairState(rule("ingress", ""))
	reconcile(t, h, st)
	l := dialLine(t, a, b, "10.1.0.12", 7777)
	if !l.answers("one", 2*time.Second) {
		t.Fatal("no answer")
	}
	st.Groups[sgA].Rules = []rpc.SecurityGroupRule{rule("ingress", "")} // egress rules gone
	reconcile(t, h, st)
	if l.answers("two", time.Second) {
		t.Fatal("the connection goes on without an egress rule")
	}
}

func TestConnectionsOfADeletedPortAreForgotten(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	h := newHost(t, dataplaneConfig())
	a, b := pair(t)
	reconcile(t, h, pairState(rule("ingress", "tcp", 22, 22)))
	l := dialLine(t, a, b, "10.1.0.12", 22)
	if !l.answers("one", 2*time.Second) {
		t.Fatal("no answer")
	}
	st := pairState(rule("ingress", "tcp", 22, 22))
	delete(st.Ports, port2)
	reconcile(t, h, st)
	// Somebody else gets the address: what the old port had open is not theirs.
	st = pairState()
	st.Ports[port3] = port(port3, netA, mac2, "10.1.0.12", sgA)
	delete(st.Ports, port2)
	dt.Must(t, "", "ip", "link", "set", "tap"+port2[:11], "name", "tap"+port3[:11])
	reconcile(t, h, st)
	if l.answers("two", time.Second) {
		t.Fatal("a connection of the deleted port reaches the next one")
	}
}

func TestRestartLosesNoPacket(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	cfg := dataplaneConfig()
	cfg.StateDir = t.TempDir()
	h := newHost(t, cfg)
	a, b := pair(t)
	reconcile(t, h, pairState(rule("ingress", "icmp"), rule("ingress", "tcp", 22, 22)))
	l := dialLine(t, a, b, "10.1.0.12", 22)
	a.ExpectPing("10.1.0.12")
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := dt.Run(a.NS, "ping", "-n", "-q", "-i", "0.01", "-c", "200", "10.1.0.12")
		done <- result{out, err}
	}()
	for range 5 {
		time.Sleep(200 * time.Millisecond)
		again := newHost(t, cfg) // a process that knows nothing yet
		res := reconcile(t, again, pairState(rule("ingress", "icmp"), rule("ingress", "tcp", 22, 22)))
		if len(res.Up) != 2 {
			t.Fatalf("adopted only %v", res.Up)
		}
	}
	r := <-done
	if r.err != nil || !contains(r.out, " 0% packet loss") {
		t.Errorf("packets were lost: %v\n%s", r.err, r.out)
	}
	if !l.answers("still", 2*time.Second) {
		t.Error("the connection did not survive the restarts")
	}
}
