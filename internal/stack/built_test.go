package stack

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// A process that starts again behind a load balancer that has not noticed must
// not say that what is asked for does not exist.
func TestRequestsBeforeTheRoutesAreThereAre503(t *testing.T) {
	s := &Stack{}
	h := s.onceBuilt(http.NotFoundHandler())
	ask := func(path string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code
	}
	if got := ask("/identity/v3"); got != http.StatusServiceUnavailable {
		t.Errorf("before: %d", got)
	}
	if got := ask("/healthcheck"); got != http.StatusNotFound {
		t.Errorf("the health check does not reach its handler: %d", got)
	}
	s.built.Store(true)
	if got := ask("/identity/v3"); got != http.StatusNotFound {
		t.Errorf("after: %d", got)
	}
}
