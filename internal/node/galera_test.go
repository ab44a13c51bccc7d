package node

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

// moody is a database that answers, is silent, or refuses.
type moody struct{ mood atomic.Value }

func (m *moody) ask(ctx context.Context) (Galera, error) {
	switch m.mood.Load() {
	case "silent":
		<-ctx.Done()
		return Galera{}, ctx.Err()
	case "refuses":
		return Galera{}, errors.New("connection refused")
	}
	return Galera{Ready: true, Primary: true, State: "Synced", Flush: 1, Size: 3}, nil
}

type roomy struct{ galeraHost }

func (roomy) room() error { return nil }

// A load balancer asks every half second. A silent database is taken for
// well until its fellows expel it, and then nobody waits for its answers; one
// that refuses is believed at once, and one that answers again too.
func TestSilentDatabaseIsGivenUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &moody{}
		g := &galera{cfg: &GaleraConfig{}, clock: clock.System, ask: m.ask, host: roomy{}}
		balancer := func() (code int, took time.Duration) {
			before := time.Now()
			w := httptest.NewRecorder()
			g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/galera", nil))
			return w.Code, time.Since(before)
		}
		expect := func(when string, want int) {
			t.Helper()
			if code, took := balancer(); code != want || took > galeraAnswers {
				t.Errorf("%s: %d after %v, want %d within %v", when, code, took, want, galeraAnswers)
			}
		}
		expect("well", http.StatusOK)
		time.Sleep(200 * time.Millisecond)
		m.mood.Store("silent")
		frozen := time.Now()
		for time.Since(frozen) < galeraLate-300*time.Millisecond {
			expect("just silent", http.StatusOK)
			time.Sleep(500*time.Millisecond - time.Since(frozen)%(500*time.Millisecond))
		}
		time.Sleep(galeraLate - time.Since(frozen))
		for range 5 {
			if code, took := balancer(); code != http.StatusServiceUnavailable || took != 0 {
				t.Errorf("silent for long: %d after %v", code, took)
			}
			time.Sleep(200 * time.Millisecond)
		}
		m.mood.Store("")
		time.Sleep(galeraAnswers + 2*galeraCached)
		expect("well again", http.StatusOK)
		time.Sleep(2 * galeraCached)
		m.mood.Store("refuses")
		expect("refuses", http.StatusServiceUnavailable)
		m.mood.Store("silent")
		time.Sleep(2 * galeraCached)
		expect("silent after it refused", http.StatusServiceUnavailable)
		m.mood.Store("")
		time.Sleep(galeraAnswers + 2*galeraCached) // the last look ends, or the test would not
		expect("well at last", http.StatusOK)
	})
}
