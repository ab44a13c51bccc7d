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
	"slices"
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
	// SecretsFile is where the secrets are; "" means secrets.yaml in StateDir.
	SecretsFile string `yaml:"secrets_file"`
	// Listen is the address that this process serves its APIs on.
	Listen string `yaml:"listen"`
	// TLS are the certificates of this process; without them it speaks in the
	// clear, which is right on loopback only.
	TLS TLS `yaml:"tls"`
	// DrainSeconds is how long a process told to stop still serves while its
	// /healthcheck says no, so that load balancers notice.
	DrainSeconds float64 `yaml:"drain_seconds"`
	// Endpoints are the public URLs of the APIs by service type; each ends
	// where the service's own path (/v3, /v2.1) begins.
	Endpoints map[string]string `yaml:"endpoints"`
	// InternalEndpoints are what the services call each other by; a type that
	// is missing has its public URL.
	InternalEndpoints map[string]string `yaml:"internal_endpoints"`
	Image             Image             `yaml:"image"`
	Database          Database          `yaml:"database"`
	Bus               Bus               `yaml:"bus"`
	Cache             Cache             `yaml:"cache"`
	Compute           Compute           `yaml:"compute"`
	Network           Network           `yaml:"network"`
	Identity          Identity          `yaml:"identity"`
	Log               Log               `yaml:"log"`

	databasePassword Secret // from the secrets file
}

// TLS names the files of a certificate, its key and the authority that all
// certificates of the cloud come from. All three are given or none.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	CA   string `yaml:"ca"`
}

// On tells whether there are certificates.
func (t TLS) On() bool { return t.Cert != "" }

// Image configures Glance.
type Image struct {
	// Peers are the base URLs of the image services of all servers, this one
	// among them: each keeps image data in its own directory and has copies of
	// the others'. None means that this process has the only store.
	Peers []string `yaml:"peers"`
	// Self is this server's entry of Peers.
	Self string `yaml:"self"`
	// Copies is how many servers must have the data before an image becomes
	// active; default 2, at most the number of peers.
	Copies int `yaml:"copies"`
}

// Database says where the services keep their state.
type Database struct {
	// URL is "sqlite:" for one file a service in the state directory,
	// "mysql://user:password@host:port/" to which the service's name is added,
	// or "" on a host that has no database. Without user and password each
	// service's user has its name, and the password is in the secrets file.
	URL Secret `yaml:"url"`
	// ServerName is the name in the server's certificate; default "database".
	// The connection is encrypted when the process has certificates.
	ServerName string `yaml:"server_name"`
	// Synced says that "hastack db sync" migrates the databases; the services
	// then only check that it was done.
	Synced bool `yaml:"synced"`
}

// Bus says how the parts of a service talk.
type Bus struct {
	// URLs are AMQP brokers, amqp:// or amqps://, begun with at random; none
	// means inside this process. The password may be in the secrets file.
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
	// VNCListen is where this host's relay to the screens of its servers
	// listens, "address:port" with port 0 for a free one; "" means loopback.
	VNCListen string `yaml:"vnc_listen"`
	// HostIP is this host's address as hypervisors are listed.
	HostIP string `yaml:"host_ip"`
}

// Network configures Neutron's server and agents.
type Network struct {
	// BridgeMappings names the bridge of each physical network.
	BridgeMappings map[string]string `yaml:"bridge_mappings"`
	// ExternalCIDR is the first-day external network; its first address is
	// the host's on the bridge of the physical network "public". "" leaves the
	// bridge as an administrator made it.
	ExternalCIDR string `yaml:"external_cidr"`
	TunnelIP     string `yaml:"tunnel_ip"`
	// Address is this host's in the management network and Members are those
	// of the cluster's other servers: a network host that reaches no majority
	// of them, and no neutron-server, gives its routers up. None on one machine.
	Address string   `yaml:"address"`
	Members []string `yaml:"members"`
	// Parts are what neutron-agent does on this host, of l2, l3, dhcp and
	// metadata; none means all.
	Parts []string `yaml:"parts"`
	// Metadata is where nova-metadata answers; "" means on Listen.
	Metadata string `yaml:"metadata_url"`
}

// Identity configures Keystone.
type Identity struct {
	BcryptCost   int `yaml:"bcrypt_cost"`
	TokenMinutes int `yaml:"token_minutes"`
	// KeysDir holds fernet-keys and credential-keys as a deployment gives them
	// to every control server; "" makes them in the state directory.
	KeysDir string `yaml:"keys_dir"`
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
	mappings := c.Network.BridgeMappings
	c.Network.BridgeMappings = nil // a mapping of the file replaces the default, also an empty one
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	if c.Network.BridgeMappings == nil {
		c.Network.BridgeMappings = mappings
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
	if u := c.Database.URL.Reveal(); u != "" && u != "sqlite:" && !strings.HasPrefix(u, "mysql://") {
		bad("database.url must be sqlite: or mysql://user:password@host:port/, or empty on a host without a database")
	}
	if c.Identity.BcryptCost < 4 || c.Identity.BcryptCost > 16 {
		bad("identity.bcrypt_cost %d must be 4 to 16", c.Identity.BcryptCost)
	}
	for _, t := range serviceTypes {
		if u, err := url.Parse(c.Endpoints[t]); err != nil || u.Host == "" {
			bad("endpoints.%s %q must be a URL", t, c.Endpoints[t])
		}
	}
	return errors.Join(append(errs, c.validateCluster()...)...)
}

// validateCluster is the part of Validate for what one machine does not have.
func (c *Config) validateCluster() []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for t, raw := range c.InternalEndpoints {
		if u, err := url.Parse(raw); err != nil || u.Host == "" {
			bad("internal_endpoints.%s %q must be a URL", t, raw)
		} else if !slices.Contains(serviceTypes, t) {
			bad("internal_endpoints.%s: there is no service of that type; types are %s", t, strings.Join(serviceTypes, ", "))
		}
	}
	if n := len(slices.DeleteFunc([]string{c.TLS.Cert, c.TLS.Key, c.TLS.CA}, func(s string) bool { return s == "" })); n != 0 && n != 3 {
		bad("tls needs cert, key and ca together")
	}
	if c.DrainSeconds < 0 || c.DrainSeconds > 60 {
		bad("drain_seconds %v must be 0 to 60", c.DrainSeconds)
	}
	if len(c.Image.Peers) > 0 {
		switch {
		case !slices.Contains(c.Image.Peers, c.Image.Self):
			bad("image.self %q must be one of image.peers", c.Image.Self)
		case !c.TLS.On():
			bad("image.peers need tls: image data goes from server to server")
		case c.Image.Copies < 0 || c.Image.Copies > len(c.Image.Peers):
			bad("image.copies %d must be 0 to %d, the number of peers", c.Image.Copies, len(c.Image.Peers))
		}
	}
	return errs
}

// AuthURL is Keystone's version 3 URL, as clients are told it.
func (c *Config) AuthURL() string { return c.Endpoints["identity"] + "/v3" }

// InternalURL is where the services find an API.
func (c *Config) InternalURL(serviceType string) string {
	if u := c.InternalEndpoints[serviceType]; u != "" {
		return u
	}
	return c.Endpoints[serviceType]
}

// InternalAuthURL is Keystone's version 3 URL for the services themselves.
func (c *Config) InternalAuthURL() string { return c.InternalURL("identity") + "/v3" }

// MetadataURL is nova-metadata's address.
func (c *Config) MetadataURL() string {
	if c.Network.Metadata != "" {
		return c.Network.Metadata
	}
	return c.scheme() + c.Listen + "/metadata"
}

// ConsoleURL is nova-novncproxy's address.
func (c *Config) ConsoleURL() string {
	if c.Compute.Console != "" {
		return c.Compute.Console
	}
	return c.scheme() + c.Listen + "/console"
}

func (c *Config) scheme() string {
	if c.TLS.On() {
		return "https://"
	}
	return "http://"
}

// SecretsPath is the secrets file.
func (c *Config) SecretsPath() string {
	if c.SecretsFile != "" {
		return c.SecretsFile
	}
	return c.Path(SecretsFile)
}

// AddSecrets puts the passwords of the database and the bus into URLs that
// have none.
func (c *Config) AddSecrets(s *Secrets) error {
	c.databasePassword = s.DatabasePassword
	for i, raw := range c.Bus.URLs {
		u, err := url.Parse(raw.Reveal())
		if err != nil {
			return fmt.Errorf("bus.urls: number %d is not a URL", i+1) // the error would show it
		}
		if _, has := u.User.Password(); has || u.User.Username() == "" || s.BusPassword.Empty() {
			continue
		}
		u.User = url.UserPassword(u.User.Username(), s.BusPassword.Reveal())
		c.Bus.URLs[i] = NewSecret(u.String())
	}
	return nil
}

// Path is a path below the state directory.
func (c *Config) Path(elem ...string) string {
	return filepath.Join(append([]string{c.StateDir}, elem...)...)
}

// DatabaseURL is the URL of one service's database. Without a user in the
// setting the user has the service's name and the password of the secrets.
func (c *Config) DatabaseURL(service string) (string, error) {
	raw := c.Database.URL.Reveal()
	switch raw {
	case "":
		return "", fmt.Errorf("%s needs a database and this configuration names none (database.url): it is that of a host for agents", service)
	case "sqlite:":
		return "sqlite://" + c.Path("db", service+".db"), nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", errors.New("database.url is not a URL") // the error would show it
	}
	if u.User.Username() == "" {
		u.User = url.UserPassword(service, c.databasePassword.Reveal())
	}
	u.Path = "/" + service
	return u.String(), nil
}
