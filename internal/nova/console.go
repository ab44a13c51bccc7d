package nova

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
)

// A consoleToken opens one server's screen for a while. Only its hash is kept,
// and it goes with the server (OSSA-2013-006): a token never outlives it.
type consoleToken struct {
	TokenHash string `bun:",pk"`
	ServerID  string
	Kind      string
	Host      string
	Address   string
	Port      int
	Path      string
	ExpiresAt time.Time
}

func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// ConsoleURL makes a URL that shows the server's screen in a browser. kind is
// novnc.
func (s *Service) ConsoleURL(ctx context.Context, srv *Server, kind string) (string, error) {
	if srv.Host == "" || srv.VMState == Building || srv.VMState == Deleted {
		return "", fault.New(fault.Conflict, "Instance %s is not ready", srv.ID)
	}
	if kind != "novnc" {
		return "", fault.New(fault.BadRequest, "Invalid console type %s", kind)
	}
	token := ids.UUID()
	row := consoleToken{TokenHash: hashToken(token), ServerID: srv.ID, Kind: kind, Host: srv.Host, ExpiresAt: s.clock.Now().Add(s.cfg.ConsoleTokenTTL)}
	if err := s.insertConsoleToken(ctx, &row); err != nil {
		return "", err
	}
	return s.cfg.ConsoleURL + "?" + url.Values{"path": {websocketPath(s.cfg.ConsoleURL) + "?token=" + token}}.Encode(), nil
}

// websocketPath is where noVNC, which puts it behind the host's root, finds the
// proxy: beside its own page.
func websocketPath(page string) string {
	u, err := url.Parse(page)
	if err != nil {
		return ""
	}
	dir := strings.Trim(path.Dir(u.Path), "/.")
	if dir == "" {
		return ""
	}
	return dir + "/"
}

// consoleTarget answers for which server a token was made, where that server
// is now.
func (s *Service) consoleTarget(ctx context.Context, token string) (*rpc.ConsoleTarget, error) {
	row, err := s.consoleToken(ctx, token)
	if db.IsNoRows(err) || err == nil && !s.clock.Now().Before(row.ExpiresAt) {
		return nil, fault.New(fault.NotFound, "the console token is unknown or expired")
	}
	if err != nil {
		return nil, err
	}
	srv, err := s.Server(ctx, row.ServerID)
	if err != nil {
		return nil, err
	}
	return &rpc.ConsoleTarget{ServerID: srv.ID, ProjectID: srv.ProjectID, Host: srv.Host, Type: row.Kind, ExpiresAt: row.ExpiresAt}, nil
}

// ConsoleConnection describes a console token to administrators
// (os-console-auth-tokens).
func (s *Service) ConsoleConnection(ctx context.Context, token string) (*rpc.ConsoleTarget, error) {
	return s.consoleTarget(ctx, token)
}

// ConsoleOutput returns the last lines of the serial console; 0 means all.
func (s *Service) ConsoleOutput(ctx context.Context, srv *Server, lines int) (string, error) {
	if srv.Host == "" {
		return "", fault.New(fault.Conflict, "Instance %s is not ready", srv.ID)
	}
	out, err := rpc.NewComputeClient(s.bus, srv.Host).ConsoleOutput(ctx, rpc.ConsoleOutputArgs{ServerID: srv.ID, Lines: lines})
	if err != nil {
		return "", err
	}
	return out.Output, nil
}

// Diagnostics returns what the host says of a running server.
func (s *Service) Diagnostics(ctx context.Context, srv *Server) (*rpc.Diagnostics, error) {
	if srv.Host == "" || srv.VMState != Active && srv.VMState != Paused {
		return nil, fault.New(fault.Conflict, "Cannot 'get_diagnostics' instance %s while it is in vm_state %s", srv.ID, srv.VMState)
	}
	return rpc.NewComputeClient(s.bus, srv.Host).Diagnostics(ctx, rpc.ServerArgs{ServerID: srv.ID})
}
