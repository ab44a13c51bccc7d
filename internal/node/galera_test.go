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

// An agent that waits for a processor sees its own limits pass. What it did not
// listen to is no silence of the database.
func TestTimeThatTheAgentDidNotRunIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &moody{}
		var starved atomic.Int64 // for how long a look goes on after its limit
		ask := func(ctx context.Context) (Galera, error) {
			s, err := m.ask(ctx)
			time.Sleep(time.Duration(starved.Load()))
			return s, err
		}
		g := &galera{cfg: &GaleraConfig{}, clock: clock.System, ask: ask, host: roomy{}}
		expect := func(when string, want int) {
			t.Helper()
			w := httptest.NewRecorder()
			g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/galera", nil))
			if w.Code != want {
				t.Errorf("%s: %d, want %d", when, w.Code, want)
			}
		}
		expect("well", http.StatusOK)
		time.Sleep(3 * time.Second) // nobody asked
		m.mood.Store("silent")
		expect("one look was late, after none for three seconds", http.StatusOK)
		m.mood.Store("")
		time.Sleep(galeraAnswers + 2*galeraCached)
		expect("well again", http.StatusOK)
		m.mood.Store("silent")
		time.Sleep(2 * galeraCached)
		starved.Store(int64(4 * time.Second))
		expect("a look that took four seconds", http.StatusOK)
		expect("and right after it", http.StatusOK)
		time.Sleep(2 * time.Second)
		expect("while the next one takes so long", http.StatusOK)
		starved.Store(0)
		time.Sleep(3*time.Second + galeraLate)
		expect("silent while the agent ran", http.StatusServiceUnavailable)
		m.mood.Store("")
		time.Sleep(galeraAnswers + 5*galeraCached)
		expect("well at last", http.StatusOK)
	})
}
