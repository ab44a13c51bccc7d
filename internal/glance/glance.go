// Package glance is the image service: the catalogue of images and their data.
//
// A row of images is the truth about an image; its data is one file, named
// after the image and the upload that wrote it. An image becomes active in one
// statement, after its data was inspected, hashed and made durable, so nobody
// ever sees half of one. Uploads and deletions survive a crash: see upload.go
// and delete.go for the order of their steps, janitor.go for who finishes them.
//
// States: queued → saving → active (PUT file), queued → uploading → active
// (stage, import), queued → importing → active (web-download), active ↔
// deactivated. saving, uploading and importing have an owner and a deadline;
// when it passes the image is queued again.
//
// Files: image.go (the type and its rules), image_update.go, image_list.go,
// member.go, data.go (download), upload.go, delete.go, janitor.go, files.go
// (the file store), peers.go (its copies on other servers), webdownload.go, policy.go; SQL in *_store.go. inspect/ knows disk formats,
// glanceapi/ speaks HTTP, glancetest/ runs the service inside tests.
//
// Not here: image locations, copy-image, tasks, metadata definitions,
// the image cache (answered 501); one store, a directory.
package glance

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/ids"
)

// Migrations are the service's tables.
//
//go:embed migrations/*.sql
var Migrations embed.FS

// Config of the service. Dir is required.
type Config struct {
	Dir           string        // where image data is kept; made if missing
	MaxImageBytes int64         // largest image; 0 means 1 TiB
	MaxProperties int           // and tags, and members, of one image; 0 means 128
	UploadLease   time.Duration // how long a silent upload keeps its image; 0 means 30 s
	SweepEvery    time.Duration // pause between two runs of the janitor; 0 means 10 s
	// ImportAllow are networks that web-download may fetch from although they
	// are not public; ImportPorts are the ports it may use, 80 and 443 if empty.
	ImportAllow []netip.Prefix
	ImportPorts []int
	// Peers are the image services on other servers.
	Peers Peers
}

// Deps are the engines under the service.
type Deps struct {
	DB    *db.DB
	Clock clock.Clock // nil means the system's
	Log   *slog.Logger
}

// Service is the image service. It is safe for concurrent use.
type Service struct {
	cfg   Config
	db    *db.DB
	clock clock.Clock
	log   *slog.Logger
	files *fileStore
	// process marks the uploads of this process, so that a restart on the same
	// directory can tell at once those that died with the one before it.
	process string

	pulls  singleflight.Group // fetches from peers, by location
	pulled time.Time          // last look for data that is not here; the janitor's

	fetcher    *fetcher
	background sync.WaitGroup // fetches; Close waits for them
	closing    chan struct{}
	closeOnce  sync.Once
}

// New opens the store. The database must be migrated.
func New(cfg Config, deps Deps) (*Service, error) {
	if cfg.Dir == "" || deps.DB == nil {
		return nil, errors.New("glance: a data directory and a database are required")
	}
	if cfg.MaxImageBytes <= 0 {
		cfg.MaxImageBytes = 1 << 40
	}
	if cfg.MaxProperties <= 0 {
		cfg.MaxProperties = 128
	}
	if cfg.UploadLease <= 0 {
		cfg.UploadLease = 30 * time.Second
	}
	if cfg.SweepEvery <= 0 {
		cfg.SweepEvery = 10 * time.Second
	}
	if deps.Clock == nil {
		deps.Clock = clock.System
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	files, err := openFiles(filepath.Clean(cfg.Dir))
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, db: deps.DB, clock: deps.Clock, log: deps.Log, files: files, process: ids.Hex()[:8],
		fetcher: newFetcher(cfg), closing: make(chan struct{})}
	return s, files.markAlive(s.process)
}

// Close ends what runs in the background and gives up the store. Uploads that
// still run are taken over by whoever opens it next.
func (s *Service) Close() error {
	var err error
	s.closeOnce.Do(func() {
		close(s.closing)
		s.background.Wait()
		err = s.files.close()
	})
	return err
}

// onClose calls f when the service is closed, unless stop was called before.
func (s *Service) onClose(f func()) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-s.closing:
			f()
		case <-done:
		}
	}()
	return func() { close(done) }
}

// Run finishes what was interrupted, at once and then on a timer, until ctx
// ends.
func (s *Service) Run(ctx context.Context) error {
	ticker := s.clock.NewTicker(s.cfg.SweepEvery)
	defer ticker.Stop()
	for {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "image janitor", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}
