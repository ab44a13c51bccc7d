package stack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/cache"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db"
)

// Names in the certificates of the engines, whatever address they are
// reached at.
const (
	databaseName = "database"
	busName      = "rabbitmq"
)

func (s *Stack) openEngines(ctx context.Context) error {
	if urls := s.cfg.Bus.URLs; len(urls) > 0 {
		cfg := bus.RabbitConfig{Log: s.log}
		for _, u := range urls {
			cfg.URLs = append(cfg.URLs, u.Reveal())
		}
		if s.tls != nil && strings.HasPrefix(cfg.URLs[0], "amqps:") {
			cfg.TLS = s.tls.Client(busName)
		}
		err := s.await(ctx, "the bus", func(ctx context.Context) (err error) {
			b, err := bus.DialRabbit(ctx, cfg)
			if err == nil {
				s.bus = b
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("open bus: %w", err)
		}
	} else {
		s.bus = bus.NewMemory(s.log)
	}
	if servers := s.cfg.Cache.Servers; len(servers) > 0 {
		s.cache = cache.NewMemcached([]byte(s.secrets.CacheKey.Reveal()), servers...)
	} else {
		s.cache = cache.NewMemory(10_000)
	}
	return nil
}

// open opens the database of a service and brings it to this version's schema,
// or waits until another has.
func (s *Stack) open(ctx context.Context, service string, migrations ...fs.FS) (*db.DB, error) {
	if d := s.dbs[service]; d != nil {
		return d, nil
	}
	cfg, err := s.databaseConfig(service)
	if err != nil {
		return nil, err
	}
	try := func(ctx context.Context) error {
		d, err := db.Open(ctx, cfg)
		if err == nil {
			s.dbs[service] = d
		}
		return err
	}
	if strings.HasPrefix(cfg.URL, "sqlite:") {
		err = try(ctx)
	} else {
		err = s.await(ctx, "the database of "+service, try)
	}
	if err != nil {
		return nil, err
	}
	d := s.dbs[service]
	if !s.cfg.Database.Synced {
		err = d.Migrate(ctx, migrations...)
	} else {
		err = s.await(ctx, "the schema of "+service+" (hastack db sync)", func(ctx context.Context) error {
			done, err := d.Migrated(ctx, migrations...)
			if err == nil && !done {
				err = errors.New("it is older than this version")
			}
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("migrate the database of %s: %w", service, err)
	}
	return d, nil
}

func (s *Stack) databaseConfig(service string) (db.Config, error) {
	url, err := s.cfg.DatabaseURL(service)
	if err != nil {
		return db.Config{}, err
	}
	return db.Config{URL: url, Log: s.log, TLS: s.databaseTLS()}, nil
}

func (s *Stack) databaseTLS() *tls.Config {
	if s.tls == nil {
		return nil
	}
	if name := s.cfg.Database.ServerName; name != "" {
		return s.tls.Client(name)
	}
	return s.tls.Client(databaseName)
}

// How long one attempt to reach an engine may take, and the longest pause
// between two.
const (
	awaitAttempt = 10 * time.Second
	awaitPause   = 2 * time.Second
)

// await repeats try until it succeeds or ctx ends. All processes of a cloud
// wait at once after a loss of power: each at its own pace.
func (s *Stack) await(ctx context.Context, what string, try func(context.Context) error) error {
	s.awaited.Store(&what)
	defer s.awaited.Store(nil)
	var said time.Time
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, awaitPause) {
		actx, cancel := context.WithTimeout(ctx, awaitAttempt)
		err := try(actx)
		cancel()
		if err == nil {
			return nil
		}
		if now := clock.System.Now(); now.Sub(said) > 10*time.Second {
			said = now
			s.log.Warn("still waiting", "for", what, "error", err)
		}
		s.systemd.starting("waiting for " + what)
		select {
		case <-clock.System.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}
