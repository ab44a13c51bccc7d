package cluster_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/cluster/clustertest"
	"github.com/hastack/hastack/internal/config"
)

func ensure(t *testing.T, dir string) *cluster.Dir {
	t.Helper()
	d, err := cluster.Ensure(dir, clustertest.Topology(t, 22))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSecretsAreMadeOnceAndComplete(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	a, b := ensure(t, dir), ensure(t, dir)
	var walk func(x, y reflect.Value)
	walk = func(x, y reflect.Value) {
		for i := range x.NumField() {
			if s, ok := reflect.TypeAssert[config.Secret](x.Field(i)); ok {
				name := x.Type().Field(i).Name
				if len(s.Reveal()) < 20 {
					t.Errorf("secret %s is %d characters long", name, len(s.Reveal()))
				}
				if s.Reveal() != y.Field(i).Interface().(config.Secret).Reveal() {
					t.Errorf("secret %s changed", name)
				}
			} else {
				walk(x.Field(i), y.Field(i))
			}
		}
	}
	walk(reflect.ValueOf(*a.Secrets), reflect.ValueOf(*b.Secrets))
	// What an older version made is kept, what it did not know is added.
	file := filepath.Join(dir, "secrets.yaml")
	if err := os.WriteFile(file, []byte("admin_password: kept\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := ensure(t, dir); c.Secrets.AdminPassword.Reveal() != "kept" || c.Secrets.ErlangCookie.Empty() {
		t.Error("a secret was lost or not made")
	}
}

func TestNothingSecretIsReadableByOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	d := ensure(t, dir)
	if _, _, err := d.Certificate(d.Topology.Servers[0]); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(dir)
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Fatalf("directory %v, %v", st.Mode(), err)
	}
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, _ := os.ReadFile(path)
		info, _ := e.Info()
		if strings.Contains(string(b), "PRIVATE KEY") && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
}

func leaf(t *testing.T, d *cluster.Dir, server string) (*x509.Certificate, string) {
	t.Helper()
	certPEM, keyPEM, err := d.Certificate(d.Topology.Server(server))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(certPEM)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert, string(keyPEM)
}

func TestCertificateServesEveryNameOfTheServer(t *testing.T) {
	d := ensure(t, filepath.Join(t.TempDir(), "c"))
	cert, _ := leaf(t, d, "node02")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(d.CAPEM())
	for _, name := range []string{"node02", "node02.c1.example", "localhost", "database", "rabbitmq", "127.0.0.1", "127.0.0.12", "203.0.113.12", "10.4.0.12", "127.0.0.100", "203.0.113.100"} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	if cert.VerifyHostname("node01") == nil {
		t.Error("node02's certificate serves node01")
	}
}

func TestCertificatesAreKeptAndRenewedInTime(t *testing.T) {
	d := ensure(t, filepath.Join(t.TempDir(), "c"))
	now := clock.NewFake(clock.System.Now())
	d.Clock = now
	first, key := leaf(t, d, "node01")
	if again, _ := leaf(t, d, "node01"); again.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Error("a good certificate was replaced")
	}
	now.Advance(first.NotAfter.Sub(now.Now()) - cluster.RenewBefore + time.Hour)
	second, _ := leaf(t, d, "node01")
	if second.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Error("a certificate that ends soon was kept")
	}
	if err := d.RenewCertificates(); err != nil {
		t.Fatal(err)
	}
	if third, k := leaf(t, d, "node01"); third.SerialNumber.Cmp(second.SerialNumber) == 0 || k == key {
		t.Error("rotation kept the certificate or the key")
	}
}

func TestKilledWhileACertificateIsMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	d := ensure(t, dir)
	leaf(t, d, "node01")
	// A kill between key and certificate leaves a pair that does not match.
	if err := os.Remove(filepath.Join(dir, "tls", "node01", "server-key.pem")); err != nil {
		t.Fatal(err)
	}
	cert, keyPEM := leaf(t, ensure(t, dir), "node01")
	block, _ := pem.Decode([]byte(keyPEM))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := key.(interface{ Public() any }); ok && !reflect.DeepEqual(p.Public(), cert.PublicKey) {
		t.Error("key and certificate do not match")
	}
}

func TestASecondDeployOfTheDirectoryIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	a, b := ensure(t, dir), ensure(t, dir)
	unlock, err := a.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lock(); err == nil || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second lock: %v, want a refusal naming process %d", err, os.Getpid())
	}
	unlock()
	if unlock, err = b.Lock(); err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestScriptsRunAndFailWithTheServersName(t *testing.T) {
	f := clustertest.New(t)
	d := f.Cluster(t)
	conn, err := d.SSH(t.Context(), f.Topology.Server("node02"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := conn.Run(t.Context(), `read x; echo "got $x 'quoted'"`, strings.NewReader("this\n"))
	if err != nil || string(out) != "got this 'quoted'\n" {
		t.Errorf("%q, %v", out, err)
	}
	_, err = conn.Run(t.Context(), "echo went wrong >&2; exit 7", nil)
	var failed *cluster.ScriptError
	if !errors.As(err, &failed) || failed.Code != 7 || err.Error() != "node02: went wrong" {
		t.Errorf("error %v", err)
	}
	// More scripts than sshd has sessions for.
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if _, err := conn.Run(t.Context(), "sleep 0.05", nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if again, err := d.SSH(t.Context(), f.Topology.Server("node02")); err != nil || again != conn {
		t.Errorf("a second connection was made: %v", err)
	}
}

func TestSSHErrorsSayWhatToDo(t *testing.T) {
	f := clustertest.New(t)
	n1, n2, n3 := f.Topology.Server("node01"), f.Topology.Server("node02"), f.Topology.Server("node03")
	d := f.Cluster(t)
	if _, err := d.SSH(t.Context(), n1); err != nil {
		t.Fatal(err)
	}
	f.Servers["node03"].Stop()
	says := func(err error, words ...string) {
		t.Helper()
		for _, w := range words {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("error %v, want %q in it", err, w)
			}
		}
	}
	_, err := d.SSH(t.Context(), n3)
	says(err, "node03", "is it up")
	other := clustertest.New(t)
	wrong := f.Cluster(t)
	wrong.SSHKey = other.Key
	_, err = wrong.SSH(t.Context(), n2)
	says(err, "node02", "authorized_keys", other.Key)
	d.Close()
	f.Servers["node01"].NewHostKey(t)
	for range 100 {
		if _, err = d.SSH(t.Context(), n1); err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond) // until the closed connection is noticed
	}
	says(err, "node01", "host key", "known_hosts")
	if b, _ := os.ReadFile(filepath.Join(d.Path, "known_hosts")); slices.Compact(strings.Fields(string(b)))[0] != "node01" {
		t.Errorf("pinned %q", b)
	}
}
