package cluster

import (
	"bytes"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/hastack/hastack/internal/config"
)

// CloudsFile is the clouds.yaml of the cluster.
func (d *Dir) CloudsFile() string { return d.path("clouds.yaml") }

// CAFile is the authority's certificate, for clients.
func (d *Dir) CAFile() string { return d.path("ca.pem") }

// PublicURL is where clients of the cloud begin, "" if the topology has no
// virtual address.
func (d *Dir) PublicURL() string { return d.url("public", "api") }

// InternalURL is where the parts of the cloud call each other.
func (d *Dir) InternalURL() string { return d.url("api", "public") }

func (d *Dir) url(names ...string) string {
	for _, n := range names {
		if v := d.Topology.VIP(n); v != nil {
			return "https://" + v.Address.String()
		}
	}
	return ""
}

// writeClouds writes the clouds.yaml of this cluster, never over the user's.
func (d *Dir) writeClouds() error {
	cloud := func(user, project string, password config.Secret) map[string]any {
		return map[string]any{
			"auth": map[string]string{
				"auth_url": d.PublicURL() + "/identity/v3", "username": user, "password": password.Reveal(), "project_name": project,
				"user_domain_name": "Default", "project_domain_name": "Default",
			},
			"region_name": d.Topology.Region, "identity_api_version": 3, "interface": "public", "cacert": d.CAFile(),
		}
	}
	b, err := yaml.Marshal(map[string]any{"clouds": map[string]any{
		"hastack-demo":  cloud("demo", "demo", d.Secrets.DemoPassword),
		"hastack-admin": cloud("admin", "admin", d.Secrets.AdminPassword),
	}})
	if err != nil {
		return fmt.Errorf("make clouds.yaml: %w", err)
	}
	if old, err := os.ReadFile(d.CloudsFile()); err == nil && bytes.Equal(old, b) {
		return nil
	}
	if err := config.WriteFile(d.CloudsFile(), b, 0o600); err != nil {
		return fmt.Errorf("make clouds.yaml: %w", err)
	}
	return nil
}
