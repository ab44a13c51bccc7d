package keystone

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db"
)

// Migrations are the goose files of Keystone's database.
//
//go:embed migrations/*.sql
var Migrations embed.FS

// Config is what an operator decides. Zero values mean the defaults.
type Config struct {
	TokenTTL        time.Duration // life of a token got by a secret; 1 h
	ExpiredWindow   time.Duration // how long after its end a service may still validate a token; 48 h
	BcryptCost      int           // 12
	LoginQueue      int           // logins that may wait for a processor; 256
	LockoutAttempts int           // wrong passwords in a row that lock a user; 0 never locks
	LockoutFor      time.Duration // how long a user stays locked; 30 min
}

// Deps are the things Keystone works with. The database must be migrated.
type Deps struct {
	DB             *db.DB
	TokenKeys      KeyRepository
	CredentialKeys KeyRepository // encrypt the secrets that must be read back
	Clock          clock.Clock   // nil means the system's
	Log            *slog.Logger  // nil means none
}

// DefaultDomain is the id of the domain that bootstrap makes.
const DefaultDomain = "default"

// Service is one process's Keystone. Any number of them may share a database
// and keys. It is safe for concurrent use.
type Service struct {
	cfg            Config
	db             *db.DB
	clock          clock.Clock
	log            *slog.Logger
	hasher         *hasher
	tokenKeys      *keyRing
	credentialKeys *keyRing

	// changes counts this process's own commits, so that it sees them at once
	// and not only when it next looks at the revisions.
	changes atomic.Uint64
	snap    atomic.Pointer[snapshot]
	flight  singleflight.Group
	revoked *revocations
	tokens  *tokenCache
}

// New makes the service; it reads nothing yet.
func New(cfg Config, deps Deps) (*Service, error) {
	if deps.DB == nil || deps.TokenKeys == nil || deps.CredentialKeys == nil {
		return nil, errors.New("keystone needs a database, token keys and credential keys")
	}
	if cfg.TokenTTL == 0 {
		cfg.TokenTTL = time.Hour
	}
	if cfg.ExpiredWindow == 0 {
		cfg.ExpiredWindow = 48 * time.Hour
	}
	if cfg.LockoutFor == 0 {
		cfg.LockoutFor = 30 * time.Minute
	}
	if deps.Clock == nil {
		deps.Clock = clock.System
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	h, err := newHasher(cfg.BcryptCost, cfg.LoginQueue)
	if err != nil {
		return nil, fmt.Errorf("keystone: %w", err)
	}
	return &Service{
		cfg: cfg, db: deps.DB, clock: deps.Clock, log: deps.Log, hasher: h,
		tokenKeys:      &keyRing{repo: deps.TokenKeys, clock: deps.Clock},
		credentialKeys: &keyRing{repo: deps.CredentialKeys, clock: deps.Clock},
		revoked:        newRevocations(),
		tokens:         newTokenCache(),
	}, nil
}

// purgeEvery is how often Run removes revocation events that no living token
// can match any more.
const purgeEvery = 10 * time.Minute

// Run does the service's housekeeping until ctx ends. Several processes may
// run it side by side.
func (s *Service) Run(ctx context.Context) error {
	t := s.clock.NewTicker(purgeEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
			if err := s.purgeRevocations(ctx); err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "old revocation events were not removed", "error", err)
			}
		}
	}
}

// RotateTokenKeys makes a new key sign tokens. Existing tokens stay readable
// for as many rotations as the repository keeps keys.
func (s *Service) RotateTokenKeys(ctx context.Context) error {
	if err := s.tokenKeys.repo.Rotate(ctx); err != nil {
		return err
	}
	_, err := s.tokenKeys.keys(ctx, 0)
	return err
}
