package node

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/hastack/hastack/internal/config"
)

// Config is /etc/hastack/node.yaml, which deploy writes. It holds passwords of
// the engines' monitors and is readable by root only.
type Config struct {
	Server string   `yaml:"server"`
	Roles  []string `yaml:"roles,omitempty"`
	// Listen is where the agent serves with TLS and, by UDP, hears its peers.
	Listen netip.AddrPort `yaml:"listen"`
	// Checks is where load balancers ask, without TLS, what to send here; not
	// valid where nothing is balanced.
	Checks netip.AddrPort `yaml:"checks"`
	TLS    config.TLS     `yaml:"tls"`
	// BeatMS is how often peers hear from this server; default 1000.
	BeatMS int          `yaml:"beat_ms,omitempty"`
	Peers  []PeerConfig `yaml:"peers,omitempty"`

	Links    []LinkConfig    `yaml:"links,omitempty"`
	VIPs     []VIPConfig     `yaml:"vips,omitempty"`
	Units    []string        `yaml:"units,omitempty"`
	Services []ServiceConfig `yaml:"services,omitempty"`
	Disks    []string        `yaml:"disks,omitempty"` // default / and /var/lib
	// Certificates are the PEM files to watch, patterns allowed.
	Certificates []string `yaml:"certificates,omitempty"`
	// FernetKeys is the directory of the token keys, "" where there is none.
	FernetKeys string `yaml:"fernet_keys,omitempty"`
	// HAProxy is the statistics socket, "" where there is none.
	HAProxy   string `yaml:"haproxy,omitempty"`
	Pacemaker bool   `yaml:"pacemaker,omitempty"`
	Memcached string `yaml:"memcached,omitempty"` // host:port
	// Guests tells that servers of the cloud run here.
	Guests bool `yaml:"guests,omitempty"`
	// Audit is the base URL of this server's auditor, "" where there is none.
	Audit  string        `yaml:"audit,omitempty"`
	Galera *GaleraConfig `yaml:"galera,omitempty"`
	Rabbit *RabbitConfig `yaml:"rabbit,omitempty"`
}

// PeerConfig is another server.
type PeerConfig struct {
	Name    string         `yaml:"name"`
	Address netip.AddrPort `yaml:"address"`
}

// LinkConfig is a device with its legs.
type LinkConfig struct {
	Device  string      `yaml:"device"`
	Network string      `yaml:"network"`
	Legs    []LegConfig `yaml:"legs"`
}

// LegConfig is a leg and the switch it goes to.
type LegConfig struct {
	Name   string `yaml:"name"`
	Switch string `yaml:"switch"`
}

// VIPConfig is a virtual address that this server may hold.
type VIPConfig struct {
	Name    string     `yaml:"name"`
	Address netip.Addr `yaml:"address"`
}

// ServiceConfig is a service of Hastack on this server.
type ServiceConfig struct {
	Name string `yaml:"name"`
	// URL is its base URL; /healthcheck is asked.
	URL string `yaml:"url"`
}

// LoadConfig reads the file.
func LoadConfig(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the node agent's configuration: %w", err)
	}
	c := &Config{}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(c); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

func (c *Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Server == "" {
		bad("server must not be empty")
	}
	if !c.Listen.IsValid() {
		bad("listen must be an address and a port")
	}
	if !c.TLS.On() || c.TLS.Key == "" || c.TLS.CA == "" {
		bad("tls needs cert, key and ca")
	}
	if c.BeatMS != 0 && (c.BeatMS < 100 || c.BeatMS > 60_000) {
		bad("beat_ms %d must be 100 to 60000", c.BeatMS)
	}
	for _, p := range c.Peers {
		if p.Name == "" || !p.Address.IsValid() {
			bad("peers: %q needs a name and an address with port", p.Name)
		}
	}
	if g := c.Galera; g != nil {
		if err := g.validate(); err != nil {
			bad("galera: %w", err)
		}
	}
	if r := c.Rabbit; r != nil {
		if err := r.validate(); err != nil {
			bad("rabbit: %w", err)
		}
	}
	return errors.Join(errs...)
}

// beat is how often peers hear from this server.
func (c *Config) beat() time.Duration {
	if c.BeatMS == 0 {
		return time.Second
	}
	return time.Duration(c.BeatMS) * time.Millisecond
}

func (c *Config) disks() []string {
	if len(c.Disks) == 0 {
		return []string{"/", "/var/lib"}
	}
	return c.Disks
}
