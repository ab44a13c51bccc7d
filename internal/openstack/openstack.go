// Package openstack makes the clients by which one service calls another:
// gophercloud over the public API, as the service's own user or with a user's
// token, with the request id of the context on every call.
//
// Services never import each other; what they need of a neighbour they ask for
// here, the way every client of the cloud does. Start with [New].
package openstack

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/config"
)

// Config names the service's own user.
type Config struct {
	AuthURL  string // ends in /v3
	Username string
	Password config.Secret
	Project  string
	Domain   string // name of the domain of user and project
	Region   string
	// Transport carries the calls; nil means http.DefaultTransport's settings.
	Transport http.RoundTripper
	Timeout   time.Duration // of one call without a deadline; 0 means 60 s
}

// Clients are the clients of one service. Safe for concurrent use.
type Clients struct {
	cfg       Config
	transport *Transport
	// service are the service's own clients, by whose catalog those of a user
	// find endpoints; nil if these are they.
	service *Clients

	mu       sync.Mutex // guards provider and made
	provider *gophercloud.ProviderClient
	made     map[string]*gophercloud.ServiceClient
}

// New makes clients; the first call authenticates.
func New(cfg Config) *Clients {
	if cfg.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 64
		t.Proxy = nil
		cfg.Transport = t
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	return &Clients{cfg: cfg, transport: &Transport{Base: cfg.Transport}, made: map[string]*gophercloud.ServiceClient{}}
}

// Identity, Image, Placement, Compute and Network are clients of the service
// of that name as the service's own user.
func (c *Clients) Identity(ctx context.Context) (*gophercloud.ServiceClient, error) {
	return c.client(ctx, "identity", openstack.NewIdentityV3)
}

// Image is Glance's client.
func (c *Clients) Image(ctx context.Context) (*gophercloud.ServiceClient, error) {
	return c.client(ctx, "image", openstack.NewImageV2)
}

// Placement is Placement's client.
func (c *Clients) Placement(ctx context.Context) (*gophercloud.ServiceClient, error) {
	return c.client(ctx, "placement", openstack.NewPlacementV1)
}

// Compute is Nova's client.
func (c *Clients) Compute(ctx context.Context) (*gophercloud.ServiceClient, error) {
	return c.client(ctx, "compute", openstack.NewComputeV2)
}

// Network is Neutron's client.
func (c *Clients) Network(ctx context.Context) (*gophercloud.ServiceClient, error) {
	return c.client(ctx, "network", openstack.NewNetworkV2)
}

type maker func(*gophercloud.ProviderClient, gophercloud.EndpointOpts) (*gophercloud.ServiceClient, error)

func (c *Clients) client(ctx context.Context, name string, mk maker) (*gophercloud.ServiceClient, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sc := c.made[name]; sc != nil {
		return sc, nil
	}
	for fresh := c.provider == nil; ; fresh = true {
		provider, err := c.authenticated(ctx)
		if err != nil {
			return nil, err
		}
		sc, err := mk(provider, gophercloud.EndpointOpts{Region: c.cfg.Region, Availability: gophercloud.AvailabilityInternal})
		if err == nil {
			c.made[name] = sc
			return sc, nil
		}
		if fresh {
			return nil, fmt.Errorf("find the %s endpoint: %w", name, Fault(err))
		}
		// A service that joined the catalog after our token is found with a new one.
		if err := c.renew(ctx); err != nil {
			return nil, err
		}
	}
}

// renew reads the catalog again, with c.mu held. A user's clients keep the
// user's token whatever happens: the service's own may do more.
func (c *Clients) renew(ctx context.Context) error {
	if c.service == nil {
		c.provider = nil
		_, err := c.authenticated(ctx)
		return err
	}
	c.service.mu.Lock()
	defer c.service.mu.Unlock()
	if err := c.service.renew(ctx); err != nil {
		return err
	}
	c.provider.EndpointLocator = c.service.provider.EndpointLocator
	return nil
}

func (c *Clients) httpClient() http.Client {
	return http.Client{Transport: c.transport, Timeout: c.cfg.Timeout}
}

// authenticated returns the provider, with c.mu held.
func (c *Clients) authenticated(ctx context.Context) (*gophercloud.ProviderClient, error) {
	if c.provider != nil {
		return c.provider, nil
	}
	provider, err := openstack.NewClient(c.cfg.AuthURL)
	if err != nil {
		return nil, fmt.Errorf("make a client of %s: %w", c.cfg.AuthURL, err)
	}
	provider.HTTPClient = c.httpClient()
	provider.UserAgent.Prepend("hastack-" + c.cfg.Username)
	err = openstack.Authenticate(ctx, provider, gophercloud.AuthOptions{
		IdentityEndpoint: c.cfg.AuthURL, Username: c.cfg.Username, Password: c.cfg.Password.Reveal(),
		DomainName: c.cfg.Domain, AllowReauth: true,
		Scope: &gophercloud.AuthScope{ProjectName: c.cfg.Project, DomainName: c.cfg.Domain},
	})
	if err != nil {
		return nil, fmt.Errorf("authenticate as %s: %w", c.cfg.Username, Fault(err))
	}
	c.provider = provider
	return provider, nil
}

// Token is the service's own token, a new one if fresh.
func (c *Clients) Token(ctx context.Context, fresh bool) (string, error) {
	c.mu.Lock()
	provider, err := c.authenticated(ctx)
	c.mu.Unlock()
	if err != nil {
		return "", err
	}
	if fresh {
		if err := provider.Reauthenticate(ctx, provider.Token()); err != nil {
			return "", fmt.Errorf("authenticate again as %s: %w", c.cfg.Username, Fault(err))
		}
	}
	return provider.Token(), nil
}

// ForUser returns clients that carry the token of a user. They find endpoints
// by the service's own catalog and cannot outlive the token.
func (c *Clients) ForUser(ctx context.Context, id *authtoken.Identity) (*Clients, error) {
	c.mu.Lock()
	provider, err := c.authenticated(ctx)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	user := &gophercloud.ProviderClient{
		IdentityBase: provider.IdentityBase, IdentityEndpoint: provider.IdentityEndpoint,
		EndpointLocator: provider.EndpointLocator, HTTPClient: c.httpClient(),
	}
	user.UseTokenLock()
	user.SetToken(id.Token.Reveal())
	return &Clients{cfg: c.cfg, transport: c.transport, service: c, provider: user, made: map[string]*gophercloud.ServiceClient{}}, nil
}

// Validator checks tokens through Keystone as the service's own user.
func (c *Clients) Validator() authtoken.Validator {
	client := c.httpClient()
	return &authtoken.Remote{AuthURL: c.cfg.AuthURL, Client: &client, OwnToken: c.Token}
}

// HTTPClient is a client whose calls carry the request id of their context,
// for bodies that gophercloud would buffer.
func (c *Clients) HTTPClient() *http.Client {
	return &http.Client{Transport: c.transport}
}

// Calls is how many HTTP calls these clients have made.
func (c *Clients) Calls() int64 { return c.transport.calls.Load() }
