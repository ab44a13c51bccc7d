// Package tlsfiles makes TLS configurations from a server's certificate files:
// for listeners, for calls to other parts of the cloud, and for both with a
// client's certificate. A renewed certificate is taken up without a restart;
// a changed authority needs one.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
)

// lookEvery bounds how often the files are looked at.
const lookEvery = time.Second

// Files are the certificates of one process. Safe for concurrent use.
type Files struct {
	files config.TLS
	clock clock.Clock
	roots *x509.CertPool

	mu      sync.Mutex // guards the rest
	pair    *tls.Certificate
	stamp   stamp
	checked time.Time
}

// A stamp changes when one of the files is replaced.
type stamp struct{ cert, key time.Time }

// Open reads the files for the first time.
func Open(files config.TLS, clk clock.Clock) (*Files, error) {
	pem, err := os.ReadFile(files.CA)
	if err != nil {
		return nil, fmt.Errorf("read the certificate authority: %w", err)
	}
	f := &Files{files: files, clock: clk, roots: x509.NewCertPool()}
	if !f.roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", files.CA)
	}
	f.checked = clk.Now()
	if err := f.reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// reload reads the pair if a file is another than before, with mu held by the
// caller or nobody else around yet.
func (f *Files) reload() error {
	cert, cerr := os.Stat(f.files.Cert)
	key, kerr := os.Stat(f.files.Key)
	if err := errors.Join(cerr, kerr); err != nil {
		return fmt.Errorf("look at the certificate: %w", err)
	}
	now := stamp{cert.ModTime(), key.ModTime()}
	if now == f.stamp {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(f.files.Cert, f.files.Key)
	if err != nil {
		return fmt.Errorf("certificate %s and key %s: %w", f.files.Cert, f.files.Key, err)
	}
	f.pair, f.stamp = &pair, now
	return nil
}

// certificate is the current pair. Between the replacing of the certificate
// and of its key they do not match: the old pair then still serves.
func (f *Files) certificate() *tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.clock.Now(); now.Sub(f.checked) >= lookEvery || now.Before(f.checked) {
		f.checked = now
		_ = f.reload() // the pair that is there still serves
	}
	return f.pair
}

// Expiry is when the certificate ends.
func (f *Files) Expiry() time.Time { return f.certificate().Leaf.NotAfter }

// Server is for a listener that anybody may connect to.
func (f *Files) Server() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.certificate(), nil },
	}
}

// Asking is Server for a listener that looks at a client's certificate where
// there is one: some of its paths are for other servers only.
func (f *Files) Asking() *tls.Config {
	c := f.Server()
	c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, f.roots
	return c
}

// Mutual is Server for a listener that only other parts of the cloud may
// connect to.
func (f *Files) Mutual() *tls.Config {
	c := f.Server()
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, f.roots
	return c
}

// Client is for calls to a server whose certificate has the name; "" means the
// name that is dialled.
func (f *Files) Client(name string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: f.roots, ServerName: name,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return f.certificate(), nil },
	}
}
