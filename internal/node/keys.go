package node

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

// certificateCollector reads when certificates end.
type certificateCollector struct {
	patterns []string
	clock    clock.Clock
}

func (certificateCollector) Name() string         { return "certificates" }
func (certificateCollector) Every() time.Duration { return time.Minute }

// Collect reads the first certificate of every PEM file; files without one
// (keys) are passed over.
func (c certificateCollector) Collect(context.Context) (Facts, error) {
	var certs []Certificate
	var errs []error
	for _, pattern := range c.patterns {
		files, err := filepath.Glob(pattern)
		if err == nil && len(files) == 0 {
			err = fmt.Errorf("no file matches %s", pattern)
		}
		if err != nil {
			errs = append(errs, err)
		}
		for _, f := range files {
			cert, err := readCertificate(f)
			switch {
			case err != nil:
				certs = append(certs, Certificate{File: f, Error: err.Error()})
			case cert != nil:
				certs = append(certs, Certificate{File: f, Subject: cert.Subject.CommonName, Expires: cert.NotAfter})
			}
		}
	}
	return func(s *State) { s.Certificates = certs }, errors.Join(errs...)
}

// readCertificate is the first certificate of a PEM file, nil if it has none.
func readCertificate(file string) (*x509.Certificate, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return nil, nil
		}
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
}

// fernetCollector looks at the age of the token keys.
type fernetCollector struct{ dir string }

func (fernetCollector) Name() string         { return "fernet" }
func (fernetCollector) Every() time.Duration { return 15 * time.Second }

// Collect looks at the directory: keys are files named by numbers; the highest
// makes new tokens, 0 is the next one.
func (c fernetCollector) Collect(context.Context) (Facts, error) {
	list, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, err
	}
	f := &Fernet{}
	primary := -1
	for _, e := range list {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // rotated away meanwhile
		}
		f.Keys++
		primary = max(primary, n)
		if info.ModTime().After(f.Rotated) {
			f.Rotated = info.ModTime().UTC()
		}
	}
	if f.Keys == 0 {
		return nil, fmt.Errorf("%s holds no keys", c.dir)
	}
	key, err := os.ReadFile(filepath.Join(c.dir, strconv.Itoa(primary)))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(key)
	f.Primary = hex.EncodeToString(sum[:4])
	return func(s *State) { s.Fernet = f }, nil
}
