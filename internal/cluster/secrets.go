package cluster

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/hastack/hastack/internal/config"
)

// Secrets are what the parts of one cluster share: those of every cloud, and
// the engines' own.
type Secrets struct {
	config.Secrets `yaml:",inline"`
	// DatabaseRoot is root@localhost's password in MariaDB, DatabaseService
	// the password of the services' users (one user a service, of its name),
	// DatabaseMonitor that of the node agents' user hastack_monitor.
	DatabaseRoot    config.Secret `yaml:"database_root"`
	DatabaseService config.Secret `yaml:"database_service"`
	DatabaseMonitor config.Secret `yaml:"database_monitor"`
	// Replication is the password of the state transfers between members.
	Replication config.Secret `yaml:"replication"`
	// RabbitPassword is the user hastack's, ErlangCookie the members' own.
	RabbitPassword config.Secret `yaml:"rabbit_password"`
	ErlangCookie   config.Secret `yaml:"erlang_cookie"`
	// VRRPPassword authenticates adverts; only its first 8 characters count.
	VRRPPassword config.Secret `yaml:"vrrp_password"`
	// StatsPassword opens HAProxy's statistics, CorosyncKey is corosync's
	// authkey, PacemakerPassword the user hacluster's.
	StatsPassword     config.Secret `yaml:"stats_password"`
	CorosyncKey       config.Secret `yaml:"corosync_key"`
	PacemakerPassword config.Secret `yaml:"pacemaker_password"`
}

// secretNames are the keys of the file; those that are missing are made, so
// that a newer version finds what an older one did not know.
var secretNames = [...]string{
	"admin_password", "demo_password", "service_password", "metadata_secret", "cache_key",
	"database_root", "database_service", "database_monitor", "replication", "rabbit_password", "erlang_cookie",
	"vrrp_password", "stats_password", "corosync_key", "pacemaker_password",
}

// ensureSecrets reads the file after making what it lacks.
func ensureSecrets(path string) (*Secrets, error) {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read secrets: %w", err)
	}
	texts := map[string]string{}
	if err := yaml.Unmarshal(b, &texts); err != nil {
		return nil, fmt.Errorf("read secrets %s: it is not a list of names and texts", path)
	}
	made := false
	for _, name := range secretNames {
		if texts[name] == "" {
			texts[name], made = rand.Text(), true
		}
	}
	if made {
		if b, err = yaml.Marshal(texts); err != nil {
			return nil, fmt.Errorf("make secrets: %w", err)
		}
		if err := config.WriteFile(path, b, 0o600); err != nil {
			return nil, fmt.Errorf("make secrets: %w", err)
		}
	}
	var s Secrets
	if err := yaml.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("read secrets %s: it is not a list of names and texts", path)
	}
	// Services know the engines' passwords by these names.
	s.DatabasePassword, s.BusPassword = s.DatabaseService, s.RabbitPassword
	return &s, nil
}
