// Package config is the configuration of a Hastack process: one YAML file read
// once, defaults, validation, and the type of secrets.
//
// The file says where things are; which services a process runs comes from the
// command line. Unknown keys refuse the start, so that a typing error cannot
// pass for a setting. Start with [Load] and [Config].
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Config is the whole file.
type Config struct {
	// StateDir holds everything that outlives the process on this host.
	StateDir string `yaml:"state_dir"`
	// Host is this host's name in services, bindings and providers.
	Host   string `yaml:"host"`
	Region string `yaml:"region"`
	// Listen is the address that this process serves its APIs on.
	Listen string `yaml:"listen"`
	// Endpoints are the public URLs of the APIs by service type; each ends
	// where the service's own path (/v3, /v2.1) begins.
	Endpoints map[string]string `yaml:"endpoints"`
	Database  Database          `yaml:"database"`
	Bus       Bus               `yaml:"bus"`
	Cache     Cache             `yaml:"cache"`
	Compute   Compute           `yaml:"compute"`
	Network   Network           `yaml:"network"`
	Identity  Identity          `yaml:"identity"`
	Log       Log               `yaml:"log"`
}

// Database says where the services keep their state.
type Database struct {
	// URL is "sqlite:" for one file a service in the state directory, or
	// "mysql://user:password@host:port/" to which the service's name is added.
	URL Secret `yaml:"url"`
}

// Bus says how the parts of a service talk.
type Bus struct {
	// URLs are AMQP brokers, tried in order; none means inside this process.
	URLs []Secret `yaml:"urls"`
}

// Cache says where results are kept that may be lost.
type Cache struct {
	Servers []string `yaml:"servers"` // memcached host:port; none means inside this process
}

// Compute configures nova-compute.
type Compute struct {
	Driver string `yaml:"driver"` // qemu or fake
	// VCPURatio, RAMRatio and DiskRatio are how often a resource is promised.
	VCPURatio float64 `yaml:"cpu_allocation_ratio"`
	RAMRatio  float64 `yaml:"ram_allocation_ratio"`
	DiskRatio float64 `yaml:"disk_allocation_ratio"`
	// Accel is auto, kvm or tcg; auto uses KVM only where a guest ran under it.
	Accel string `yaml:"accel"`
	// FakeHosts is how many simulated hosts the fake driver stands for.
	FakeHosts int `yaml:"fake_hosts"`
	// Console is where browsers find nova-novncproxy; "" means on Listen.
	Console string `yaml:"console_url"`
}

// Network configures Neutron's server and agents.
type Network struct {
	// BridgeMappings names the bridge of each physical network.
	BridgeMappings map[string]string `yaml:"bridge_mappings"`
	// ExternalCIDR is the first-day external network; its first address is
	// the host's on the bridge of the physical network "public".
	ExternalCIDR string `yaml:"external_cidr"`
	TunnelIP     string `yaml:"tunnel_ip"`
	// Metadata is where nova-metadata answers; "" means on Listen.
	Metadata string `yaml:"metadata_url"`
}

// Identity configures Keystone.
type Identity struct {
	BcryptCost   int `yaml:"bcrypt_cost"`
	TokenMinutes int `yaml:"token_minutes"`
}

// Log says what is logged.
type Log struct {
	Level string `yaml:"level"` // debug, info, warn or error
	File  string `yaml:"file"`  // "" means standard error
}

// Service types with an endpoint, in catalog order.
var serviceTypes = []string{"identity", "image", "placement", "compute", "network"}

// ServiceTypes are the service types that have an endpoint.
func ServiceTypes() []string { return append([]string(nil), serviceTypes...) }

// Default is the one-machine cloud with its state in dir and its APIs on
// listen.
func Default(dir, listen string) *Config {
	c := &Config{
		StateDir: dir, Region: "RegionOne", Listen: listen,
		Database: Database{URL: NewSecret("sqlite:")},
		Compute:  Compute{Driver: "qemu", VCPURatio: 16, RAMRatio: 1.5, DiskRatio: 1, Accel: "auto", FakeHosts: 1},
		Network: Network{
			BridgeMappings: map[string]string{"public": "br-ex"},
			ExternalCIDR:   "172.24.4.0/24", TunnelIP: "127.0.0.1",
		},
		Identity: Identity{BcryptCost: 12, TokenMinutes: 60},
		Log:      Log{Level: "info"},
	}
	c.Host, _ = os.Hostname()
	c.SetEndpoints("http://" + listen)
	return c
}

// SetEndpoints puts every API under one base URL.
func (c *Config) SetEndpoints(base string) {
	c.Endpoints = map[string]string{}
	for _, t := range serviceTypes {
		c.Endpoints[t] = base + "/" + t
	}
}

// Load reads a file over the defaults.
func Load(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	c := Default("/var/lib/hastack", "127.0.0.1:5000")
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

// Validate names every setting that cannot work.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !filepath.IsAbs(c.StateDir) {
		bad("state_dir %q must be an absolute path", c.StateDir)
	}
	if c.Host == "" {
		bad("host must not be empty")
	}
	if c.Compute.Driver != "qemu" && c.Compute.Driver != "fake" {
		bad("compute.driver %q must be qemu or fake", c.Compute.Driver)
	}
	for name, r := range map[string]float64{"cpu": c.Compute.VCPURatio, "ram": c.Compute.RAMRatio, "disk": c.Compute.DiskRatio} {
		if r <= 0 {
			bad("compute.%s_allocation_ratio must be above 0", name)
		}
	}
	if u := c.Database.URL.Reveal(); u != "sqlite:" && !strings.HasPrefix(u, "mysql://") {
		bad("database.url must be sqlite: or mysql://user:password@host:port/")
	}
	if c.Identity.BcryptCost < 4 || c.Identity.BcryptCost > 16 {
		bad("identity.bcrypt_cost %d must be 4 to 16", c.Identity.BcryptCost)
	}
	for _, t := range serviceTypes {
		if u, err := url.Parse(c.Endpoints[t]); err != nil || u.Host == "" {
			bad("endpoints.%s %q must be a URL", t, c.Endpoints[t])
		}
	}
	return errors.Join(errs...)
}

// AuthURL is Keystone's version 3 URL.
func (c *Config) AuthURL() string { return c.Endpoints["identity"] + "/v3" }

// MetadataURL is nova-metadata's address.
func (c *Config) MetadataURL() string {
	if c.Network.Metadata != "" {
		return c.Network.Metadata
	}
	return "http://" + c.Listen + "/metadata"
}

// ConsoleURL is nova-novncproxy's address.
func (c *Config) ConsoleURL() string {
	if c.Compute.Console != "" {
		return c.Compute.Console
	}
	return "http://" + c.Listen + "/console"
}

// Path is a path below the state directory.
func (c *Config) Path(elem ...string) string {
	return filepath.Join(append([]string{c.StateDir}, elem...)...)
}

// DatabaseURL is the URL of one service's database.
func (c *Config) DatabaseURL(service string) string {
	if u := c.Database.URL.Reveal(); u != "sqlite:" {
		return strings.TrimRight(u, "/") + "/" + service
	}
	return "sqlite://" + c.Path("db", service+".db")
}
