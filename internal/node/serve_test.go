package node

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestListenerOfSystemdIsTakenOver starts this test again with a listener as
// systemd gives it, and lets it answer.
func TestListenerOfSystemdIsTakenOver(t *testing.T) {
	if at := os.Getenv("NODE_TEST_INHERIT"); at != "" {
		l, err := inherited(netip.MustParseAddrPort(at))
		if err != nil || l == nil {
			t.Fatalf("listener %v, error %v", l, err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("here"))
		_ = c.Close()
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// Somebody asks before the agent runs.
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" -test.run=TestListenerOfSystemdIsTakenOver`, os.Args[0])
	cmd.Env = append(os.Environ(), "NODE_TEST_INHERIT="+l.Addr().String())
	cmd.ExtraFiles = []*os.File{f}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	buf := make([]byte, 10)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "here" {
		t.Errorf("read %q, error %v", buf[:n], err)
	}
}

func TestWithoutSystemdThereIsNoListener(t *testing.T) {
	if strings.TrimSpace(os.Getenv("LISTEN_FDS")) != "" {
		t.Skip("this test was started with listeners")
	}
	if l, err := inherited(netip.MustParseAddrPort("127.0.0.1:1")); l != nil || err != nil {
		t.Errorf("listener %v, error %v", l, err)
	}
}
