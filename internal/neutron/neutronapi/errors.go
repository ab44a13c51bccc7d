package neutronapi

import (
	"net/http"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
)

type errorBody struct {
	Type    string `json:"type"`
	Message string `json:"message"`
	Detail  string `json:"detail"`
}

// typeNames are the exception names of faults that carry none.
func typeName(k fault.Kind) string {
	switch k {
	case fault.BadRequest:
		return "HTTPBadRequest"
	case fault.Forbidden:
		return "PolicyNotAuthorized"
	case fault.NotFound:
		return "HTTPNotFound"
	case fault.MethodNotAllowed:
		return "HTTPMethodNotAllowed"
	case fault.NotAcceptable:
		return "HTTPNotAcceptable"
	case fault.Conflict:
		return "HTTPConflict"
	case fault.PreconditionFailed:
		return "HTTPPreconditionFailed"
	case fault.TooLarge:
		return "HTTPRequestEntityTooLarge"
	case fault.UnsupportedMedia:
		return "HTTPUnsupportedMediaType"
	case fault.NotImplemented:
		return "HTTPNotImplemented"
	case fault.Unavailable:
		return "HTTPServiceUnavailable"
	case fault.Timeout:
		return "HTTPGatewayTimeout"
	}
	return "HTTPInternalServerError"
}

// writeError writes Neutron's envelope. A missing token is answered in the
// form of the middleware that checks it, as everywhere.
func writeError(w http.ResponseWriter, r *http.Request, e *fault.Error) {
	if e.Kind == fault.Unauthorized {
		httpapi.WriteJSON(w, r, http.StatusUnauthorized, map[string]any{"error": map[string]any{
			"code": http.StatusUnauthorized, "title": "Unauthorized", "message": "The request you have made requires authentication.",
		}})
		return
	}
	name := e.Code
	if name == "" {
		name = typeName(e.Kind)
	}
	httpapi.WriteJSON(w, r, e.Kind.Status(), map[string]errorBody{"NeutronError": {Type: name, Message: e.Text}})
}

func badRequest(format string, args ...any) error {
	return fault.New(fault.BadRequest, format, args...).WithCode("HTTPBadRequest")
}
