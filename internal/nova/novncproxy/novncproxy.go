// Package novncproxy is nova-novncproxy: a server's screen in a browser.
//
// It serves noVNC's files and turns a websocket that carries a console token
// into a connection to the screen of the one server that the token was made
// for. The conductor says which server that is, the server's host opens the way
// at that moment; no address is kept, so none can lead to another server later.
package novncproxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
)

// Config is what an operator sets.
type Config struct {
	// Dir holds noVNC's files; default /usr/share/novnc, Debian's package novnc.
	Dir string
	// Origins are the host names, with port if it is not the default, from whose
	// pages a browser may connect besides the proxy's own ("cloud.example.org").
	Origins []string
	// TLS verifies the relays of the hosts; nil speaks to them in the clear.
	TLS *tls.Config
}

// Proxy is the http.Handler. Make it with New.
type Proxy struct {
	cfg       Config
	files     fs.FS
	conductor conductor
	screen    func(ctx context.Context, host, serverID string) (*rpc.VNCReply, error)
	log       *slog.Logger
}

type conductor interface {
	ConsoleTarget(ctx context.Context, in rpc.ConsoleTargetArgs) (*rpc.ConsoleTarget, error)
}

// New makes a proxy that asks over b.
func New(cfg Config, b bus.Bus, log *slog.Logger) *Proxy {
	if cfg.Dir == "" {
		cfg.Dir = "/usr/share/novnc"
	}
	return &Proxy{cfg: cfg, files: os.DirFS(cfg.Dir), conductor: rpc.NewConductorClient(b), log: log,
		screen: func(ctx context.Context, host, serverID string) (*rpc.VNCReply, error) {
			return rpc.NewComputeClient(b, host).VNCConsole(ctx, rpc.ServerArgs{ServerID: serverID})
		}}
}

// ServeHTTP implements http.Handler: a websocket on any path is a console, the
// rest are noVNC's files.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		p.console(w, r)
		return
	}
	p.file(w, r)
}

// file serves one regular file. It never redirects and never lists: a path such
// as //evil/%2e%2e is only a file that does not exist.
func (p *Proxy) file(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	if name == "" {
		name = "vnc_lite.html"
	}
	b, err := fs.ReadFile(p.files, name)
	if err != nil {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer") // the address holds a token
	h.Set("Content-Security-Policy", "object-src 'none'; base-uri 'self'; connect-src 'self' ws: wss:")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b))
}

// token is taken from the query. noVNC 1.x also puts a whole query into "path",
// which arrives as ours.
func token(r *http.Request) string { return r.URL.Query().Get("token") }

// connectDeadline bounds the way from a token to the screen.
const connectDeadline = 20 * time.Second

func (p *Proxy) console(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), connectDeadline)
	defer cancel()
	target, err := p.conductor.ConsoleTarget(ctx, rpc.ConsoleTargetArgs{Token: token(r)})
	if err != nil || target.Type != "novnc" {
		p.refuse(w, r, err)
		return
	}
	// Accept refuses an Origin that is neither our own host nor a listed one:
	// another site's page must not use what the browser knows.
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"binary"},
		OriginPatterns: p.cfg.Origins, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		p.log.InfoContext(r.Context(), "console refused", slog.String("server_id", target.ServerID), slog.Any("error", err))
		return
	}
	conn, err := p.dial(ctx, target)
	if err != nil {
		p.log.WarnContext(r.Context(), "console not opened", slog.String("server_id", target.ServerID), slog.Any("error", err))
		_ = ws.Close(websocket.StatusTryAgainLater, "the screen cannot be reached")
		return
	}
	defer conn.Close()
	p.log.InfoContext(r.Context(), "console opened", slog.String("server_id", target.ServerID), slog.String("host", target.Host))
	ws.SetReadLimit(1 << 20)
	carry(r.Context(), ws, conn)
}

// refuse answers all bad tokens alike: unknown, expired, of another kind.
func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil && !fault.Is(err, fault.NotFound) {
		p.log.WarnContext(r.Context(), "console token not checked", slog.Any("error", err))
		http.Error(w, "the console cannot be reached", http.StatusServiceUnavailable)
		return
	}
	http.Error(w, "the console token is not valid", http.StatusForbidden)
}

// dial connects to the relay of the server's host and shows it the ticket.
func (p *Proxy) dial(ctx context.Context, t *rpc.ConsoleTarget) (net.Conn, error) {
	reply, err := p.screen(ctx, t.Host, t.ServerID)
	if err != nil {
		return nil, err
	}
	conn, err := p.connect(ctx, reply.Address)
	if err != nil {
		return nil, fmt.Errorf("relay of host %s: %w", t.Host, err)
	}
	if _, err := io.WriteString(conn, "HASTACK-VNC "+reply.Ticket+"\n"); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func (p *Proxy) connect(ctx context.Context, address string) (net.Conn, error) {
	if p.cfg.TLS == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	return (&tls.Dialer{Config: p.cfg.TLS}).DialContext(ctx, "tcp", address)
}

// carry copies both ways until either side ends.
func carry(ctx context.Context, ws *websocket.Conn, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	browser := websocket.NetConn(ctx, ws, websocket.MessageBinary)
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(browser, conn); done <- struct{}{} }()
	go func() { _, _ = io.Copy(conn, browser); done <- struct{}{} }()
	<-done
	_ = conn.Close()
	_ = browser.Close()
	<-done
}
