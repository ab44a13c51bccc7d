package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/topology"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 365 * 24 * time.Hour
	// RenewBefore is how long before its end a certificate is replaced.
	RenewBefore = 30 * 24 * time.Hour
	// backdate is the clock skew between servers that certificates bear.
	backdate = time.Hour
)

// authority is the cluster's certificate authority.
type authority struct {
	pem  []byte
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// ensureAuthority reads ca/, or makes it. The key is written first: a
// certificate without its key is never left behind.
func (d *Dir) ensureAuthority() (*authority, error) {
	if err := os.MkdirAll(d.path("ca"), 0o700); err != nil {
		return nil, fmt.Errorf("make certificate authority: %w", err)
	}
	key, err := ensureKey(d.path("ca", "ca-key.pem"))
	if err != nil {
		return nil, err
	}
	certPEM, cert, err := readCertificate(d.path("ca", "ca.pem"))
	if err != nil || !key.PublicKey.Equal(cert.PublicKey) {
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		t := &x509.Certificate{
			Subject: pkix.Name{CommonName: "Hastack cluster " + d.Topology.Name}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		}
		if certPEM, cert, err = d.issue(t, caLife, nil, key, d.path("ca", "ca.pem")); err != nil {
			return nil, err
		}
	}
	// Clients are given this copy; the directory ca is never shared.
	if b, err := os.ReadFile(d.path("ca.pem")); err != nil || string(b) != string(certPEM) {
		if err := config.WriteFile(d.path("ca.pem"), certPEM, 0o644); err != nil {
			return nil, fmt.Errorf("keep certificate of the authority: %w", err)
		}
	}
	return &authority{certPEM, cert, key}, nil
}

// CAPEM is the certificate of the cluster's authority.
func (d *Dir) CAPEM() []byte { return slices.Clone(d.ca.pem) }

// Certificate is the server's, issued by the cluster's authority. It is kept,
// and renewed when less than 30 days remain or the server's names differ.
func (d *Dir) Certificate(server *topology.Server) (certPEM, keyPEM []byte, err error) {
	names, addresses := d.namesOf(server)
	return d.leaf(d.path("tls", server.Name, "server.pem"), d.path("tls", server.Name, "server-key.pem"), &x509.Certificate{
		Subject: pkix.Name{CommonName: server.Name}, DNSNames: names, IPAddresses: addresses,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

// operator is the client certificate of who runs the cluster.
func (d *Dir) operator() (certPEM, keyPEM []byte, err error) {
	return d.leaf(d.path("tls", "operator.pem"), d.path("tls", "operator-key.pem"), &x509.Certificate{
		Subject:     pkix.Name{CommonName: "operator", OrganizationalUnit: []string{"operator"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// RenewCertificates forgets every server's certificate and key and the
// operator's, so that the next use makes new ones.
func (d *Dir) RenewCertificates() error {
	unlock, err := d.flock("issue.lock", true)
	if err != nil {
		return err
	}
	defer unlock()
	// A certificate goes before its key: what is left of a killed run is a key
	// without a certificate, which gets one.
	files, err := filepath.Glob(d.path("tls", "*", "server*.pem"))
	if err != nil {
		return err
	}
	files = append(files, d.path("tls", "operator.pem"), d.path("tls", "operator-key.pem"))
	slices.SortFunc(files, func(a, b string) int { return len(a) - len(b) })
	for _, f := range files {
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("renew certificates: %w", err)
		}
	}
	return nil
}

// namesOf are all names and addresses that a server may be called by: its own
// and those that move between servers.
func (d *Dir) namesOf(s *topology.Server) (names []string, addresses []net.IP) {
	names = []string{s.Name, s.FQDN(), "localhost", "database", "rabbitmq"}
	add := func(a netip.Addr) {
		if a.IsValid() {
			addresses = append(addresses, net.IP(a.AsSlice()))
		}
	}
	add(netip.MustParseAddr("127.0.0.1"))
	for _, n := range s.Networks() {
		add(s.Address(n))
	}
	for _, v := range d.Topology.VIPs {
		names = append(names, v.Name+"."+d.Topology.Domain)
		add(v.Address)
	}
	return names, addresses
}

// leaf returns the certificate of the files if it still serves as t asks, or
// issues it.
func (d *Dir) leaf(certFile, keyFile string, t *x509.Certificate) (certPEM, keyPEM []byte, err error) {
	unlock, err := d.flock("issue.lock", true)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	if err := os.MkdirAll(filepath.Dir(certFile), 0o700); err != nil {
		return nil, nil, fmt.Errorf("make certificate of %s: %w", t.Subject.CommonName, err)
	}
	key, err := ensureKey(keyFile)
	if err != nil {
		return nil, nil, err
	}
	certPEM, cert, err := readCertificate(certFile)
	if err != nil || !d.serves(cert, key, t) {
		t.KeyUsage = x509.KeyUsageDigitalSignature
		if certPEM, _, err = d.issue(t, leafLife, d.ca, key, certFile); err != nil {
			return nil, nil, err
		}
	}
	keyPEM, err = os.ReadFile(keyFile)
	return certPEM, keyPEM, err
}

func (d *Dir) serves(cert *x509.Certificate, key *ecdsa.PrivateKey, t *x509.Certificate) bool {
	return key.PublicKey.Equal(cert.PublicKey) && cert.CheckSignatureFrom(d.ca.cert) == nil &&
		cert.NotAfter.After(d.Clock.Now().Add(RenewBefore)) &&
		slices.Equal(cert.DNSNames, t.DNSNames) && slices.EqualFunc(cert.IPAddresses, t.IPAddresses, net.IP.Equal)
}

// issue signs t for key and writes it; by is nil for the authority itself.
func (d *Dir) issue(t *x509.Certificate, life time.Duration, by *authority, key *ecdsa.PrivateKey, file string) ([]byte, *x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, fmt.Errorf("issue certificate: %w", err)
	}
	now := d.Clock.Now()
	t.SerialNumber, t.NotBefore, t.NotAfter = serial, now.Add(-backdate), now.Add(life)
	parent, signer := t, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, fmt.Errorf("issue certificate of %s: %w", t.Subject.CommonName, err)
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := config.WriteFile(file, b, 0o644); err != nil {
		return nil, nil, fmt.Errorf("keep certificate of %s: %w", t.Subject.CommonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	return b, cert, err
}

func ensureKey(file string) (*ecdsa.PrivateKey, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("make key: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, fmt.Errorf("make key: %w", err)
		}
		b := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		if err := config.WriteFile(file, b, 0o600); err != nil {
			return nil, fmt.Errorf("make key: %w", err)
		}
		return key, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if block, _ := pem.Decode(b); block != nil {
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if key, ok := key.(*ecdsa.PrivateKey); ok {
				return key, nil
			}
		}
	}
	return nil, fmt.Errorf("key %s is damaged: restore it from a copy of the cluster directory", file)
}

func readCertificate(file string) ([]byte, *x509.Certificate, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("read certificate: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, nil, fmt.Errorf("certificate %s is damaged: restore it from a copy of the cluster directory", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate %s is damaged: %w", file, err)
	}
	return b, cert, nil
}

// TLS trusts the cluster's authority only and shows the operator's
// certificate.
func (d *Dir) TLS() (*tls.Config, error) {
	certPEM, keyPEM, err := d.operator()
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("operator's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(d.ca.cert)
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair}}, nil
}

// HTTPClient makes a client that trusts the cluster's authority and shows the
// operator's certificate. Without a usable certificate its requests fail.
func (d *Dir) HTTPClient(timeout time.Duration) *http.Client {
	conf, err := d.TLS()
	if err != nil {
		return &http.Client{Transport: refuse{err}}
	}
	return &http.Client{Timeout: timeout, Transport: &http.Transport{
		TLSClientConfig: conf, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: true,
		DialContext: (&net.Dialer{Timeout: timeout, KeepAlive: 5 * time.Second}).DialContext,
	}}
}

// refuse answers every request with the reason why none can be made.
type refuse struct{ err error }

// RoundTrip returns the reason.
func (r refuse) RoundTrip(*http.Request) (*http.Response, error) { return nil, r.err }
