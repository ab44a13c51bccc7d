package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/config"
)

func cloudsFile(dir string) string { return filepath.Join(dir, "clouds.yaml") }

// writeClouds writes the clouds.yaml of this cloud into its state directory,
// never over the user's own.
func writeClouds(cfg *config.Config, secrets *config.Secrets) error {
	cloud := func(user, project string, password config.Secret) map[string]any {
		return map[string]any{
			"auth": map[string]string{
				"auth_url": cfg.AuthURL(), "username": user, "password": password.Reveal(), "project_name": project,
				"user_domain_name": "Default", "project_domain_name": "Default",
			},
			"region_name": cfg.Region, "identity_api_version": 3, "interface": "public",
		}
	}
	b, err := yaml.Marshal(map[string]any{"clouds": map[string]any{
		"hastack-demo":  cloud("demo", "demo", secrets.DemoPassword),
		"hastack-admin": cloud("admin", "admin", secrets.AdminPassword),
	}})
	if err != nil {
		return fmt.Errorf("make clouds.yaml: %w", err)
	}
	return config.WriteFile(cloudsFile(cfg.StateDir), b, 0o600)
}

func (a *app) envCommand() *cobra.Command {
	var admin bool
	cmd := &cobra.Command{
		Use: "env", Short: "Print shell settings that point OpenStack clients at this cloud", Args: noArgs,
		Example: "  eval \"$(hastack env)\"\n  openstack server list",
		RunE: func(*cobra.Command, []string) error {
			ca := ""
			if a.isCluster() {
				d, err := cluster.Open(a.stateDir)
				if err != nil {
					return err
				}
				ca = fmt.Sprintf("export OS_CACERT=%s\n", d.CAFile())
			} else if _, err := config.LoadSecrets(a.stateDir); err != nil {
				return fmt.Errorf("there is no cloud in %s: start one (hastack up)", a.stateDir)
			}
			name := "hastack-demo"
			if admin {
				name = "hastack-admin"
			}
			_, err := fmt.Fprintf(a.out, "export OS_CLIENT_CONFIG_FILE=%s\nexport OS_CLOUD=%s\n%s", cloudsFile(a.stateDir), name, ca)
			return err
		},
	}
	cmd.Flags().BoolVar(&admin, "admin", false, "as the admin instead of the demo user")
	return a.onCluster(cmd)
}
