package tlsfiles_test

import (
	"crypto/tls"
	"net"
	"os"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/tlsfiles"
	"github.com/hastack/hastack/internal/tlsfiles/tlstest"
)

// shake connects a client to a server and tells the serial number it saw.
func shake(server, client *tls.Config) (int64, error) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		_ = a.Close()
		done <- err
	}()
	c := tls.Client(b, client)
	if err := c.Handshake(); err != nil {
		_ = b.Close()
		<-done
		return 0, err
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		<-done
		return 0, err
	}
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), <-done
}

func TestRenewedCertificateIsTakenUp(t *testing.T) {
	ca, dir, clk := tlstest.New(t), t.TempDir(), clock.NewFake(time.Now())
	f, err := tlsfiles.Open(ca.Issue(t, dir, 10, time.Unix(1000, 0), "node"), clk)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := shake(f.Server(), f.Client("node")); err != nil || n != 10 {
		t.Fatalf("serial %d, %v", n, err)
	}
	files := ca.Issue(t, dir, 11, time.Unix(2000, 0), "node")
	clk.Advance(2 * time.Second)
	if n, err := shake(f.Server(), f.Client("node")); err != nil || n != 11 {
		t.Errorf("after the renewal: serial %d, %v", n, err)
	}
	// A key that does not fit its certificate: the old pair goes on.
	if err := os.WriteFile(files.Key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	clk.Advance(2 * time.Second)
	if n, err := shake(f.Server(), f.Client("node")); err != nil || n != 11 {
		t.Errorf("with half a key: serial %d, %v", n, err)
	}
}

func TestForeignAuthorityIsRefusedBothWays(t *testing.T) {
	ours, theirs := tlstest.New(t), tlstest.New(t)
	f, err := tlsfiles.Open(ours.Issue(t, t.TempDir(), 1, time.Unix(1, 0), "node"), clock.System)
	if err != nil {
		t.Fatal(err)
	}
	g, err := tlsfiles.Open(theirs.Issue(t, t.TempDir(), 2, time.Unix(1, 0), "node"), clock.System)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shake(g.Server(), f.Client("node")); err == nil {
		t.Error("a foreign server was believed")
	}
	if _, err := shake(f.Server(), f.Client("other")); err == nil {
		t.Error("a certificate of another name was believed")
	}
	foreign := f.Client("node")
	foreign.GetClientCertificate = g.Client("node").GetClientCertificate
	if _, err := shake(f.Mutual(), foreign); err == nil {
		t.Error("a foreign client was let in")
	}
	if _, err := shake(f.Mutual(), f.Client("node")); err != nil {
		t.Errorf("our own client was refused: %v", err)
	}
}
