package tlsfiles_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/tlsfiles"
)

// authority issues certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a *authority) issue(t *testing.T, dir, name string, serial int64, stamp time.Time) config.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	k, _ := x509.MarshalPKCS8PrivateKey(key)
	files := config.TLS{Cert: filepath.Join(dir, "server.pem"), Key: filepath.Join(dir, "server-key.pem"), CA: filepath.Join(dir, "ca.pem")}
	for path, b := range map[string][]byte{
		files.Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		files.Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k}), files.CA: a.pem,
	} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

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
	ca, dir, clk := newAuthority(t), t.TempDir(), clock.NewFake(time.Now())
	f, err := tlsfiles.Open(ca.issue(t, dir, "node", 10, time.Unix(1000, 0)), clk)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := shake(f.Server(), f.Client("node")); err != nil || n != 10 {
		t.Fatalf("serial %d, %v", n, err)
	}
	files := ca.issue(t, dir, "node", 11, time.Unix(2000, 0))
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
	ours, theirs := newAuthority(t), newAuthority(t)
	f, err := tlsfiles.Open(ours.issue(t, t.TempDir(), "node", 1, time.Unix(1, 0)), clock.System)
	if err != nil {
		t.Fatal(err)
	}
	g, err := tlsfiles.Open(theirs.issue(t, t.TempDir(), "node", 2, time.Unix(1, 0)), clock.System)
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
