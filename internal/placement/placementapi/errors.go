package placementapi

import (
	"net/http"
	"strings"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/placement"
	"github.com/hastack/hastack/internal/telemetry"
)

type errorView struct {
	Status     int    `json:"status"`
	Title      string `json:"title"`
	Detail     string `json:"detail"`
	Code       string `json:"code,omitempty"`
	RequestID  string `json:"request_id"`
	MinVersion string `json:"min_version,omitempty"`
	MaxVersion string `json:"max_version,omitempty"`
}

// writeError writes Placement's envelope. The code is there since 1.23.
func writeError(w http.ResponseWriter, r *http.Request, f *fault.Error) {
	status := f.Kind.Status()
	e := errorView{Status: status, Title: http.StatusText(status), Detail: f.Text, RequestID: telemetry.RequestID(r.Context())}
	if codes(w.Header()) {
		if e.Code = f.Code; e.Code == "" {
			e.Code = placement.CodeUndefined
		}
	}
	if f.Kind == fault.NotAcceptable {
		e.MinVersion, e.MaxVersion = "1.0", httpapi.Microversion{Major: 1, Minor: maxMinor}.String()
	}
	httpapi.WriteJSON(w, r, status, map[string]any{"errors": []errorView{e}})
}

// codes tells whether the version that was negotiated, which the answer names,
// has error codes.
func codes(h http.Header) bool {
	_, text, _ := strings.Cut(h.Get("Openstack-Api-Version"), " ")
	v, err := httpapi.ParseMicroversion(text)
	return err == nil && v.AtLeast(1, 23)
}
