package stack

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/keystone/keystoneapi"
	"github.com/hastack/hastack/internal/lifecycle"
)

// serviceUsers are the users that services log in as.
var serviceUsers = [...]string{"glance", "neutron", "nova", "placement"}

// catalog names each service type of the catalog and the path behind its
// endpoint's URL.
var catalog = [...]struct{ kind, name, path, description string }{
	{"identity", "keystone", "/v3", "Identity"},
	{"image", "glance", "", "Images"},
	{"placement", "placement", "", "Placement"},
	{"compute", "nova", "/v2.1", "Compute"},
	{"network", "neutron", "", "Networks"},
}

// keyDir is a key repository: our own on one machine, on a cluster the one that
// deploy gave to every control server.
func (s *Stack) keyDir(name string) keystone.KeyDir {
	if dir := s.cfg.Identity.KeysDir; dir != "" {
		return keystone.KeyDir{Path: filepath.Join(dir, name), Given: true}
	}
	return keystone.KeyDir{Path: s.cfg.Path(name)}
}

func buildKeystone(ctx context.Context, s *Stack) error {
	if s.secrets.AdminPassword.Empty() {
		return fmt.Errorf("secrets %s: admin_password is missing, which keystone needs", s.cfg.SecretsPath())
	}
	d, err := s.open(ctx, "keystone", schema("keystone")...)
	if err != nil {
		return err
	}
	svc, err := keystone.New(keystone.Config{
		TokenTTL: time.Duration(s.cfg.Identity.TokenMinutes) * time.Minute, BcryptCost: s.cfg.Identity.BcryptCost,
	}, keystone.Deps{
		DB: d, Log: s.log,
		TokenKeys: s.keyDir("fernet-keys"), CredentialKeys: s.keyDir("credential-keys"),
	})
	if err != nil {
		return err
	}
	api, err := keystoneapi.New(svc, keystoneapi.Config{PublicURL: s.cfg.Endpoints["identity"], Log: s.log, Metrics: s.metrics})
	if err != nil {
		return err
	}
	s.mount("identity", api)
	s.parts = append(s.parts, lifecycle.Part{
		Name: "keystone",
		Start: func(ctx context.Context) error {
			if !strings.HasPrefix(s.cfg.Database.URL.Reveal(), "mysql:") {
				return svc.Bootstrap(ctx, s.bootstrap())
			}
			return s.await(ctx, "the first content of keystone", func(ctx context.Context) error {
				return svc.Bootstrap(ctx, s.bootstrap())
			})
		},
		Run: svc.Run,
	})
	return nil
}

func (s *Stack) bootstrap() keystone.BootstrapConfig {
	b := keystone.BootstrapConfig{
		AdminPassword: s.secrets.AdminPassword, Region: s.cfg.Region, ServiceUsers: map[string]config.Secret{},
	}
	for _, u := range serviceUsers {
		b.ServiceUsers[u] = s.secrets.ServicePassword
	}
	for _, c := range catalog {
		b.Services = append(b.Services, keystone.BootstrapService{
			Type: c.kind, Name: c.name, Description: c.description, PublicURL: s.cfg.Endpoints[c.kind] + c.path,
			InternalURL: s.cfg.InternalURL(c.kind) + c.path, AdminURL: s.cfg.InternalURL(c.kind) + c.path,
		})
	}
	return b
}

// authenticates is the probe of a role that needs Keystone.
func (s *Stack) authenticates(user string) {
	clients := s.service(user)
	s.probes = append(s.probes, probe{fmt.Sprintf("keystone (as %s)", user), func(ctx context.Context) bool {
		_, err := clients.Token(ctx, false)
		return err == nil
	}})
}
