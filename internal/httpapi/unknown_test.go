package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/telemetry"
)

// TestSec55UnknownPathsTakeNoMemory asks for many paths that do not exist and
// looks at what stays.
func TestSec55UnknownPathsTakeNoMemory(t *testing.T) {
	rt := httpapi.NewRouter(httpapi.Config{
		Service: "compute", Metrics: telemetry.NewMetrics(),
		WriteError: func(w http.ResponseWriter, _ *http.Request, e *fault.Error) { w.WriteHeader(e.Kind.Status()) },
	})
	ask := func(from, to int) {
		for i := from; i < to; i++ {
			w := httptest.NewRecorder()
			rt.ServeHTTP(w, httptest.NewRequest(http.MethodGet, fmt.Sprintf("/v2.1/unknown-%d/%d?x=%d", i, i, i), nil))
			if w.Code != http.StatusNotFound {
				t.Fatalf("path %d: %d", i, w.Code)
			}
		}
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	ask(0, 1000)
	before := heap()
	ask(1000, 101_000)
	if after := heap(); after > before+1<<20 {
		t.Errorf("100000 unknown paths left %d bytes", after-before)
	}
}
