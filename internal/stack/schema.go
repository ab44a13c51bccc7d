package stack

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/hastack/hastack/internal/audit"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/glance"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/neutron"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/operation"
	"github.com/hastack/hastack/internal/placement"
)

// Databases are the services that have one, in the order of their migration.
func Databases() []string {
	return []string{"keystone", "glance", "placement", "nova", "neutron", auditDatabase}
}

// schema is what the database of a service is made of.
func schema(service string) []fs.FS {
	switch service {
	case "keystone":
		return []fs.FS{keystone.Migrations}
	case "glance":
		return []fs.FS{glance.Migrations}
	case "placement":
		return []fs.FS{placement.Migrations}
	case "nova":
		return []fs.FS{nova.Migrations, operation.Migrations}
	case "neutron":
		return []fs.FS{neutron.Migrations}
	case auditDatabase:
		return audit.Schema()
	}
	return nil
}

// SyncDatabases brings the databases of services (all if none is named) to
// this version's schema. It is idempotent; of several at once one works and the
// others wait. A database that does not answer yet is waited for until ctx ends.
func SyncDatabases(ctx context.Context, cfg *config.Config, log *slog.Logger, services ...string) error {
	if len(services) == 0 {
		services = Databases()
	}
	for _, name := range services {
		if !slices.Contains(Databases(), name) {
			return fmt.Errorf("there is no database %q; databases are %v", name, Databases())
		}
	}
	own := *cfg
	own.Database.Synced = false
	s, err := prepare(&own, log)
	if err != nil {
		return err
	}
	defer s.close()
	for _, name := range services {
		if _, err := s.open(ctx, name, schema(name)...); err != nil {
			return err
		}
		log.Info("database is in step", "service", name)
	}
	return nil
}
