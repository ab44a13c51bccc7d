package glanceapi_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hastack/hastack/internal/glance/glancetest"
)

// webServer listens on one of the loopback addresses, so that tests can allow
// one and forbid the other.
func webServer(t *testing.T, address string, h http.HandlerFunc) (url string, port int) {
	t.Helper()
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Skipf("no second loopback address here: %v", err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL, l.Addr().(*net.TCPAddr).Port
}

func webImport(uri string) map[string]any {
	return map[string]any{"method": map[string]string{"name": "web-download", "uri": uri}}
}

func TestSec19WebDownloadSSRF(t *testing.T) {
	var inside atomic.Int64
	secret, secretPort := webServer(t, "127.0.0.1", func(w http.ResponseWriter, _ *http.Request) {
		inside.Add(1)
		_, _ = w.Write([]byte("secret"))
	})
	web, webPort := webServer(t, "127.0.0.2", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/good":
			_, _ = w.Write([]byte("an image"))
		case strings.HasPrefix(r.URL.Path, "/to/"):
			http.Redirect(w, r, strings.TrimPrefix(r.URL.Path, "/to/"), http.StatusFound)
		case r.URL.Path == "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		default:
			http.Error(w, "no", http.StatusTeapot)
		}
	})
	c := glancetest.New(t, glancetest.WithImport("127.0.0.2/32", webPort, secretPort))
	start := func(uri string) (string, glancetest.Reply) {
		id := c.Create("member", nil)
		return id, c.Do("member", "POST", "/v2/images/"+id+"/import", webImport(uri))
	}
	port := fmt.Sprint(":", secretPort, "/")
	for _, uri := range []string{secret, "http://[::ffff:127.0.0.1]" + port, "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "http://x:y@127.0.0.2" + port, "",
		"http://2130706433" + port, "http://0x7f000001" + port, "http://0177.0.0.1" + port, "http://127.1" + port, "http://0x7f.1." + port} {
		if id, r := start(uri); r.Status != 400 || c.Status("member", id) != "queued" {
			t.Errorf("%s: %d, image %s", uri, r.Status, c.Status("member", id))
		}
	}
	// These only show what they are when the connection is made.
	for _, uri := range []string{
		"http://localhost" + port,
		web + "/to/" + secret + "/", web + "/to/http://localhost" + port, web + "/to/http://2130706433" + port, web + "/to/file:///etc/passwd", web + "/loop", web + "/error",
	} {
		id, r := start(uri)
		if r.Status != 202 {
			t.Errorf("%s: %d %s", uri, r.Status, r.Body)
			continue
		}
		waitFor(t, uri, func() bool { return c.Status("member", id) == "queued" })
		clean(t, c, id)
	}
	if n := inside.Load(); n != 0 {
		t.Errorf("the inside was reached %d times", n)
	}
	id, r := start(web + "/to/" + web + "/good")
	if r.Status != 202 {
		t.Fatalf("good import: %d %s", r.Status, r.Body)
	}
	waitFor(t, "the import", func() bool { return c.Status("member", id) == "active" })
	if r := c.Must(200, "member", "GET", "/v2/images/"+id+"/file", nil); string(r.Body) != "an image" {
		t.Errorf("data %q", r.Body)
	}
	c.Must(409, "member", "POST", "/v2/images/"+id+"/import", webImport(web+"/good"))
}

func TestCloseEndsRunningImports(t *testing.T) {
	reached := make(chan struct{})
	web, port := webServer(t, "127.0.0.2", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		close(reached)
		<-r.Context().Done()
	})
	c := glancetest.New(t, glancetest.WithImport("127.0.0.2/32", port))
	id := c.Create("member", nil)
	c.Must(202, "member", "POST", "/v2/images/"+id+"/import", webImport(web))
	<-reached
	if got := c.Status("member", id); got != "importing" {
		t.Errorf("status %s", got)
	}
	if err := c.Service.Close(); err != nil {
		t.Fatal(err)
	}
	clean(t, c, id)
}
