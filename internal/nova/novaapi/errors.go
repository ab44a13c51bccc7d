package novaapi

import (
	"net/http"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
)

// writeError writes Nova's envelope: {"itemNotFound": {"code": 404, "message": …}}.
func writeError(w http.ResponseWriter, r *http.Request, e *fault.Error) {
	status := e.Kind.Status()
	if e.Kind == fault.Unauthorized {
		httpapi.WriteJSON(w, r, status, map[string]any{"error": map[string]any{"code": status, "title": "Unauthorized", "message": e.Text}})
		return
	}
	httpapi.WriteJSON(w, r, status, map[string]any{envelope(e.Kind): map[string]any{"code": status, "message": e.Text}})
}

func envelope(k fault.Kind) string {
	switch k {
	case fault.BadRequest:
		return "badRequest"
	case fault.Forbidden:
		return "forbidden"
	case fault.NotFound:
		return "itemNotFound"
	case fault.MethodNotAllowed:
		return "badMethod"
	case fault.Conflict:
		return "conflictingRequest"
	case fault.TooLarge, fault.OverLimit:
		return "overLimit"
	case fault.UnsupportedMedia:
		return "badMediaType"
	case fault.NotImplemented:
		return "notImplemented"
	case fault.Unavailable:
		return "serviceUnavailable"
	}
	return "computeFault"
}
