package novncproxy

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/coder/websocket"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
)

type tokens map[string]*rpc.ConsoleTarget

func (t tokens) ConsoleTarget(_ context.Context, in rpc.ConsoleTargetArgs) (*rpc.ConsoleTarget, error) {
	if c := t[in.Token]; c != nil {
		return c, nil
	}
	return nil, fault.New(fault.NotFound, "no such token")
}

// echoRelay plays a host: it takes the ticket line, greets with it, and echoes.
func echoRelay(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				line, _ := r.ReadString('\n')
				_, _ = io.WriteString(c, "got "+line)
				_, _ = io.Copy(c, r)
			}()
		}
	}()
	return l.Addr().String()
}

func newProxy(t *testing.T) (*Proxy, *httptest.Server, *[]string) {
	relay := echoRelay(t)
	var asked []string
	p := &Proxy{log: slog.New(slog.DiscardHandler),
		files:     fstest.MapFS{"vnc_lite.html": {Data: []byte("<html>novnc")}, "core/rfb.js": {Data: []byte("export")}},
		conductor: tokens{"good": {ServerID: "s1", Host: "h1", Type: "novnc"}, "spice": {ServerID: "s1", Host: "h1", Type: "spice"}},
		screen: func(_ context.Context, host, id string) (*rpc.VNCReply, error) {
			asked = append(asked, host+"/"+id)
			return &rpc.VNCReply{Address: relay, Ticket: "t-" + id}, nil
		}}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	return p, srv, &asked
}

func dial(t *testing.T, srv *httptest.Server, path, origin string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	h := http.Header{}
	if origin != "" {
		h.Set("Origin", origin)
	}
	return websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http")+path, &websocket.DialOptions{HTTPHeader: h, Subprotocols: []string{"binary"}})
}

func TestTokenOpensItsServersScreen(t *testing.T) {
	_, srv, asked := newProxy(t)
	for _, path := range []string{"/?token=good", "/websockify?token=good"} {
		ws, _, err := dial(t, srv, path, srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		c := websocket.NetConn(t.Context(), ws, websocket.MessageBinary)
		_, _ = io.WriteString(c, "hello\n")
		r := bufio.NewReader(c)
		first, _ := r.ReadString('\n')
		second, _ := r.ReadString('\n')
		if first != "got HASTACK-VNC t-s1\n" || second != "hello\n" {
			t.Errorf("%s: %q %q", path, first, second)
		}
		_ = c.Close()
	}
	if len(*asked) != 2 || (*asked)[0] != "h1/s1" {
		t.Errorf("asked %v", *asked)
	}
}

func TestSec38BadTokensOpenNothing(t *testing.T) {
	_, srv, asked := newProxy(t)
	for _, path := range []string{"/", "/?token=", "/?token=other", "/?token=spice"} {
		if _, resp, err := dial(t, srv, path, srv.URL); err == nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %v %v", path, resp, err)
		}
	}
	if len(*asked) != 0 {
		t.Errorf("hosts were asked: %v", *asked)
	}
}

func TestSec39ForeignOriginIsRefused(t *testing.T) {
	p, srv, _ := newProxy(t)
	if _, resp, err := dial(t, srv, "/?token=good", "https://evil.example"); err == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("foreign origin: %v %v", resp, err)
	}
	p.cfg.Origins = []string{"dashboard.example"}
	ws, _, err := dial(t, srv, "/?token=good", "https://dashboard.example")
	if err != nil {
		t.Fatal(err)
	}
	_ = ws.CloseNow()
}

func TestSec39PathsNeverRedirect(t *testing.T) {
	_, srv, _ := newProxy(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for path, want := range map[string]int{"//evil.example/%2e%2e": 200, "//evil.example/%2f..": 200, "/core": 404, "/core/": 404,
		"/index.html": 404, "/../../etc/passwd": 404, "/core/rfb.js": 200, "/": 200} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = path
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want || resp.Header.Get("Location") != "" {
			t.Errorf("%s: %d %s", path, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
}
