package openstack

import (
	"net/http"
	"sync/atomic"

	"github.com/hastack/hastack/internal/telemetry"
)

// Transport puts the request id of the context on each call and counts calls.
type Transport struct {
	Base  http.RoundTripper
	calls atomic.Int64
}

// RoundTrip sends the request with its id.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.calls.Add(1)
	if id := telemetry.RequestID(r.Context()); id != "" && r.Header.Get("X-Openstack-Request-Id") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("X-Openstack-Request-Id", id)
		telemetry.Inject(r.Context(), r.Header)
	}
	return t.Base.RoundTrip(r)
}
