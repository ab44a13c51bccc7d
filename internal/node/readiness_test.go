package node

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

// All load balancers get the service's own word, and it is asked once for all
// who ask at about the same time, also when one of them goes away.
func TestReadinessIsTheServicesOwn(t *testing.T) {
	var code, asks atomic.Int64
	hang := make(chan struct{})
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asks.Add(1)
		if r.URL.Path != "/healthcheck" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		if code.Load() == 0 {
			<-hang
			return
		}
		w.WriteHeader(int(code.Load()))
	}))
	defer service.Close()
	defer close(hang)
	now := clock.NewFake(time.Unix(1e9, 0))
	r := newReadiness([]ServiceConfig{{Name: "keystone", URL: service.URL + "/"}, {Name: "dead", URL: "http://127.0.0.1:1"}}, service.Client(), now)
	mux := http.NewServeMux()
	mux.Handle("GET /ready/{service}", r)
	ask := func(ctx context.Context, name string) int {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/ready/"+name, nil))
		return w.Code
	}
	for _, want := range []int{http.StatusOK, http.StatusNotFound, http.StatusServiceUnavailable} {
		code.Store(int64(want))
		now.Advance(readyCached)
		before := asks.Load()
		gone, leave := context.WithCancel(t.Context())
		leave()
		var wg sync.WaitGroup
		for _, ctx := range []context.Context{gone, t.Context(), t.Context()} {
			wg.Go(func() {
				if got := ask(ctx, "keystone"); got != want {
					t.Errorf("%d, want %d", got, want)
				}
			})
		}
		wg.Wait()
		if n := asks.Load() - before; n != 1 {
			t.Errorf("the service was asked %d times", n)
		}
	}
	code.Store(0)
	now.Advance(readyCached)
	for _, name := range []string{"keystone", "dead", "none"} {
		if got := ask(t.Context(), name); got != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", name, got)
		}
	}
}
