// Package metadata is nova-metadata: what a guest reads at 169.254.169.254 and
// on its config drive, in EC2's and OpenStack's forms.
//
// Neutron's metadata agent hands a guest's request on and says which server
// asks, signed with a shared secret; nobody else is answered. The server's data
// comes from the conductor. Read tree.go for the content, metadata.go for who
// may have it.
package metadata

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
)

// cacheFor is how long a server's data is kept: a guest asks for a dozen paths
// at its boot, and later hardly ever.
const cacheFor = 10 * time.Second

// cacheMax bounds how many servers are kept at once.
const cacheMax = 1000

// Config holds what the service shares with Neutron's metadata agent.
type Config struct {
	SharedSecret config.Secret
}

// Conductor is the part of rpc.Conductor that is asked.
type Conductor interface {
	ServerMetadata(ctx context.Context, in rpc.ServerMetadataArgs) (*rpc.ServerSpec, error)
}

// Service answers the requests of guests. It is an http.Handler.
type Service struct {
	cfg       Config
	conductor Conductor
	clock     clock.Clock
	log       *slog.Logger
	flight    singleflight.Group

	mu    sync.Mutex // guards cache
	cache map[string]entry
}

type entry struct {
	tree  map[string][]byte
	key   string // name of the key pair
	until time.Time
}

// New makes the service. A secret that is empty would let everybody in, so it
// is refused.
func New(cfg Config, c Conductor, clk clock.Clock, log *slog.Logger) (*Service, error) {
	if cfg.SharedSecret.Empty() {
		return nil, fault.New(fault.BadRequest, "metadata: the secret shared with the network agents is not set")
	}
	return &Service{cfg: cfg, conductor: c, clock: clk, log: log, cache: map[string]entry{}}, nil
}

// Sign makes the signature that a request for a server must carry.
func Sign(secret config.Secret, serverID string) string {
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write([]byte(serverID))
	return hex.EncodeToString(mac.Sum(nil))
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		answer(w, http.StatusMethodNotAllowed, "method not allowed")
		return
	}
	id, project, ok := s.identify(r)
	if !ok {
		answer(w, http.StatusForbidden, "forbidden")
		return
	}
	e, err := s.lookup(r.Context(), id, project)
	if err != nil {
		if !fault.Is(err, fault.NotFound) {
			s.log.ErrorContext(r.Context(), "metadata not answered", slog.String("server_id", id), slog.Any("error", err))
			answer(w, http.StatusInternalServerError, "internal error")
			return
		}
		answer(w, http.StatusNotFound, "not found")
		return
	}
	body, kind, ok := e.find(r.URL.Path)
	if !ok {
		answer(w, http.StatusNotFound, "not found")
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(body)
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}

// identify checks the headers of the metadata agent. The signature is compared
// in constant time, and before anything is looked up.
func (s *Service) identify(r *http.Request) (id, project string, ok bool) {
	id, project = r.Header.Get("X-Instance-ID"), r.Header.Get("X-Tenant-ID")
	given := r.Header.Get("X-Instance-ID-Signature")
	if !hmac.Equal([]byte(given), []byte(Sign(s.cfg.SharedSecret, id))) {
		return "", "", false
	}
	return id, project, ids.IsUUID(id) && project != "" && len(r.Header.Values("X-Instance-ID")) == 1
}

// lookup answers from the cache or the conductor. The project is part of the
// key: a server is found only by the project that owns it.
func (s *Service) lookup(ctx context.Context, id, project string) (entry, error) {
	key := id + " " + project
	s.mu.Lock()
	e, ok := s.cache[key]
	s.mu.Unlock()
	if ok && s.clock.Now().Before(e.until) {
		return e, nil
	}
	v, err, _ := s.flight.Do(key, func() (any, error) {
		spec, err := s.conductor.ServerMetadata(context.WithoutCancel(ctx), rpc.ServerMetadataArgs{ServerID: id, ProjectID: project})
		if err != nil {
			return nil, err
		}
		if spec.ID != id || spec.ProjectID != project {
			return nil, fault.New(fault.NotFound, "server %s is not of project %s", id, project)
		}
		return s.store(key, spec)
	})
	if err != nil {
		return entry{}, err
	}
	return v.(entry), nil
}

func (s *Service) store(key string, spec *rpc.ServerSpec) (entry, error) {
	tree, err := serviceTree(spec)
	if err != nil {
		return entry{}, err
	}
	now := s.clock.Now()
	e := entry{tree: tree, key: spec.Key.Name, until: now.Add(cacheFor)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cache) >= cacheMax {
		for k, old := range s.cache {
			if now.After(old.until) || len(s.cache) >= cacheMax {
				delete(s.cache, k)
			}
		}
	}
	s.cache[key] = e
	return e, nil
}

// serviceTree is every leaf of one version; find maps all versions to it.
func serviceTree(spec *rpc.ServerSpec) (map[string][]byte, error) {
	content, err := openstackFiles(spec)
	if err != nil {
		return nil, err
	}
	tree := map[string][]byte{}
	for name, b := range content {
		tree["openstack/"+name] = b
	}
	for i, f := range spec.Files {
		tree["content/"+contentName(i)] = f.Contents
	}
	for path, v := range ec2Leaves(spec) {
		tree["ec2/meta-data/"+path] = []byte(v)
	}
	if len(spec.UserData) > 0 {
		tree["ec2/user-data"] = spec.UserData
	}
	return tree, nil
}

// find answers a path: a leaf, or a folder as the list of its entries.
func (e entry) find(path string) (body []byte, kind string, ok bool) {
	path = strings.Trim(path, "/")
	first, rest, _ := strings.Cut(path, "/")
	var at string
	switch {
	case path == "":
		return []byte(strings.Join(ec2Versions, "\n")), "text/plain; charset=utf-8", true
	case path == "openstack":
		return []byte(strings.Join(openstackVersions, "\n")), "text/plain; charset=utf-8", true
	case first == "openstack":
		version, below, _ := strings.Cut(rest, "/")
		if version == "content" {
			at = "content/" + below
			break
		}
		if !slices.Contains(openstackVersions, version) {
			return nil, "", false
		}
		at = strings.TrimSuffix("openstack/"+below, "/")
	case slices.Contains(ec2Versions, first):
		at = strings.TrimSuffix("ec2/"+rest, "/")
	default:
		return nil, "", false
	}
	if b, ok := e.tree[at]; ok {
		kind = "text/plain; charset=utf-8"
		switch {
		case strings.HasSuffix(at, ".json"):
			kind = "application/json"
		case strings.HasSuffix(at, "user_data") || strings.HasSuffix(at, "user-data"):
			kind = "application/octet-stream"
		}
		return b, kind, true
	}
	list := e.list(at + "/")
	return []byte(strings.Join(list, "\n")), "text/plain; charset=utf-8", len(list) > 0
}

// list names what lies below a folder; folders end in a slash.
func (e entry) list(prefix string) []string {
	if prefix == "ec2/meta-data/public-keys/" && e.key != "" {
		return []string{"0=" + e.key}
	}
	var out []string
	for path := range e.tree {
		rest, ok := strings.CutPrefix(path, prefix)
		if !ok {
			continue
		}
		name, _, deeper := strings.Cut(rest, "/")
		if deeper {
			name += "/"
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
