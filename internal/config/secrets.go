package config

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// Secrets are what the parts of one cloud share and nobody else may know.
type Secrets struct {
	AdminPassword   Secret `yaml:"admin_password"`
	DemoPassword    Secret `yaml:"demo_password"`
	ServicePassword Secret `yaml:"service_password"`
	// MetadataSecret signs the server's id between Neutron's metadata agent
	// and Nova's metadata service.
	MetadataSecret Secret `yaml:"metadata_secret"`
	// CacheKey authenticates what is read back from a shared cache.
	CacheKey Secret `yaml:"cache_key"`
	// DatabasePassword and BusPassword are those of the services' users in the
	// database and on the bus, for URLs without one; a cloud on one machine has
	// neither.
	DatabasePassword Secret `yaml:"database_password,omitempty"`
	BusPassword      Secret `yaml:"bus_password,omitempty"`
}

// plainSecrets is the file's form; it exists only while the file is written.
type plainSecrets struct {
	AdminPassword   string `yaml:"admin_password"`
	DemoPassword    string `yaml:"demo_password"`
	ServicePassword string `yaml:"service_password"`
	MetadataSecret  string `yaml:"metadata_secret"`
	CacheKey        string `yaml:"cache_key"`
}

// SecretsFile is where the secrets of a cloud lie below its state directory.
const SecretsFile = "secrets.yaml"

// LoadSecrets reads the secrets of the cloud with that state directory.
func LoadSecrets(dir string) (*Secrets, error) {
	path := filepath.Join(dir, SecretsFile)
	s, err := LoadSecretsFile(path)
	if err != nil {
		return nil, err
	}
	if s.AdminPassword.Empty() || s.DemoPassword.Empty() {
		return nil, fmt.Errorf("secrets %s: admin_password or demo_password is missing", path)
	}
	return s, nil
}

// LoadSecretsFile reads a file that may lack what only Keystone and clients
// need, as on a host that runs agents only.
func LoadSecretsFile(path string) (*Secrets, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read secrets: %w", err)
	}
	var s Secrets
	if err := yaml.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("read secrets %s: it is not YAML", path) // the error would quote it
	}
	for name, v := range map[string]Secret{
		"service_password": s.ServicePassword, "metadata_secret": s.MetadataSecret, "cache_key": s.CacheKey,
	} {
		if v.Empty() {
			return nil, fmt.Errorf("secrets %s: %s is missing", path, name)
		}
	}
	return &s, nil
}

// EnsureSecrets is LoadSecrets after making the file, readable by its owner
// only, if there is none.
func EnsureSecrets(dir string) (*Secrets, error) {
	s, err := LoadSecrets(dir)
	if !errors.Is(err, os.ErrNotExist) {
		return s, err
	}
	b, err := yaml.Marshal(plainSecrets{rand.Text(), rand.Text(), rand.Text(), rand.Text(), rand.Text()})
	if err != nil {
		return nil, fmt.Errorf("make secrets: %w", err)
	}
	if err := WriteFile(filepath.Join(dir, SecretsFile), b, 0o600); err != nil {
		return nil, fmt.Errorf("make secrets: %w", err)
	}
	return LoadSecrets(dir)
}

// WriteFile replaces a file so that after a crash there is the old one or the
// new one, whole.
func WriteFile(path string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
