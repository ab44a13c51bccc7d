// Package firstday makes the content that a new cloud starts with, through
// the public API like any client: demo project and user, flavors, an image, an
// external and a private network, a router, security group rules, a key pair
// and the server "first".
//
// Everything is found before it is made, so that it can be run again at any
// time and after being cut off anywhere. Start with [Ensure].
package firstday

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	hastack "github.com/hastack/hastack/internal/openstack"
)

// The names of what is made.
const (
	Project = "demo"
	User    = "demo"
	Image   = "testvm"
	Public  = "public"
	Private = "private"
	Router  = "router1"
	Key     = "demo"
	Server  = "first"
	SSHUser = "testvm"
	Role    = "member" // of the user in the project; made by bootstrap
)

// Config says where the cloud is and what to put in it.
type Config struct {
	AuthURL       string
	Region        string
	AdminPassword config.Secret
	DemoPassword  config.Secret
	ImageFile     string // a bootable qcow2; "" makes no image and no server
	KeyDir        string // where the private key of the key pair is kept
	ExternalCIDR  string
	// ExternalGateway is the gateway of the external network, "" its first
	// address; ExternalPool is the range "first-last" of floating IPs and
	// routers, "" all of the network.
	ExternalGateway, ExternalPool string
	PrivateCIDR                   string
	// Transport carries the calls; nil means http.DefaultTransport.
	Transport http.RoundTripper
	// Boot boots the server "first"; WaitSSH waits for it to answer.
	Boot, WaitSSH bool
	Clock         clock.Clock
	// Progress is told what is being done; step is short and stays the same
	// while detail changes.
	Progress func(step, detail string)
}

// Content is what there is.
type Content struct {
	ServerID   string
	FloatingIP string
	KeyFile    string
	// BootTook is from the request to ACTIVE and SSHTook from ACTIVE to the
	// first answer; zero if the server was there before.
	BootTook, SSHTook time.Duration
}

// content is one run of Ensure.
type content struct {
	cfg         Config
	admin, demo *gophercloud.ProviderClient
	projectID   string
	out         Content
}

// Ensure makes what is missing and returns what there is. After an error or a
// cancelled context it can simply be run again.
func Ensure(ctx context.Context, cfg Config) (*Content, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string, string) {}
	}
	c := &content{cfg: cfg}
	c.out.KeyFile = filepath.Join(cfg.KeyDir, Key+".pem")
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"projects", c.projects},
		{"flavors", c.flavors},
		{"image", c.image},
		{"networks", c.networks},
		{"security", c.security},
		{"key pair", c.keyPair},
		{"server", c.server},
	} {
		cfg.Progress(step.name, "")
		if err := step.do(ctx); err != nil {
			return nil, fmt.Errorf("first-day %s: %w", step.name, hastack.Fault(err))
		}
	}
	return &c.out, nil
}

func (c *content) login(ctx context.Context, user, project string, password config.Secret) (*gophercloud.ProviderClient, error) {
	p, err := openstack.NewClient(c.cfg.AuthURL)
	if err != nil {
		return nil, fmt.Errorf("log in at %s: %w", c.cfg.AuthURL, err)
	}
	p.HTTPClient = http.Client{Transport: c.cfg.Transport}
	err = openstack.Authenticate(ctx, p, gophercloud.AuthOptions{
		IdentityEndpoint: c.cfg.AuthURL, Username: user, Password: password.Reveal(), DomainName: "Default",
		Scope: &gophercloud.AuthScope{ProjectName: project, DomainName: "Default"}, AllowReauth: true,
	})
	if err != nil {
		return nil, fmt.Errorf("log in as %s: %w", user, err)
	}
	return p, nil
}

func (c *content) opts() gophercloud.EndpointOpts {
	return gophercloud.EndpointOpts{Region: c.cfg.Region}
}

// wait asks done every interval until it says yes, fails, or timeout is over.
func (c *content) wait(ctx context.Context, what string, timeout, interval time.Duration, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		ok, err := done(ctx)
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not there after %s", what, timeout)
		case <-c.cfg.Clock.After(interval):
		}
	}
}
