package novaapi

import (
	"encoding/json"
	"net/http"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/nova"
)

func (a *API) addConsoleRoutes() {
	a.post("/servers/{server_id}/remote-consoles", pre+"os-remote-consoles", http.StatusOK, since(6, a.createConsole))
	a.get("/os-console-auth-tokens/{token}", pre+"os-console-auth-tokens", a.showConsoleToken)
}

func consoleOutput(a *API, r *httpapi.Request, s *nova.Server, raw json.RawMessage) (any, error) {
	var in struct {
		Length *json.RawMessage `json:"length"`
	}
	if string(raw) != "null" {
		if err := decodeAction(raw, &in); err != nil {
			return nil, err
		}
	}
	lines := 0
	if in.Length != nil && string(*in.Length) != "null" {
		var n signed
		if err := json.Unmarshal(*in.Length, &n); err != nil || n < -1 {
			return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute length. Value: %.40s", *in.Length)
		}
		if n == 0 {
			return httpapi.Response{Status: http.StatusOK, Body: map[string]string{"output": ""}}, nil
		}
		lines = max(int(n), 0) // -1 means all
	}
	out, err := a.nova.ConsoleOutput(r.Context(), s, lines)
	if err != nil {
		return nil, err
	}
	return httpapi.Response{Status: http.StatusOK, Body: map[string]string{"output": out}}, nil
}

func oldConsole(kind string) func(*API, *httpapi.Request, *nova.Server, json.RawMessage) (any, error) {
	return func(a *API, r *httpapi.Request, s *nova.Server, raw json.RawMessage) (any, error) {
		var in struct {
			Type string `json:"type"`
		}
		if err := decodeAction(raw, &in); err != nil {
			return nil, err
		}
		if in.Type != kind {
			return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute type. Value: %.40s", in.Type)
		}
		url, err := a.nova.ConsoleURL(r.Context(), s, kind)
		if err != nil {
			return nil, err
		}
		return httpapi.Response{Status: http.StatusOK, Body: map[string]any{"console": map[string]string{"type": kind, "url": url}}}, nil
	}
}

func (a *API) createConsole(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	var in struct {
		Console *struct {
			Protocol string `json:"protocol"`
			Type     string `json:"type"`
		} `json:"remote_console"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Console == nil {
		return nil, fault.New(fault.BadRequest, "'remote_console' is a required property")
	}
	switch c := in.Console; {
	case c.Protocol == "vnc" && c.Type == "novnc":
	case c.Protocol == "vnc" && c.Type == "xvpvnc", c.Protocol == "spice", c.Protocol == "rdp", c.Protocol == "serial", c.Protocol == "mks":
		return nil, fault.New(fault.BadRequest, "Unavailable console type %.40s.", c.Type)
	default:
		return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute protocol. Value: %.40s", c.Protocol)
	}
	url, err := a.nova.ConsoleURL(r.Context(), s, in.Console.Type)
	if err != nil {
		return nil, err
	}
	return map[string]any{"remote_console": map[string]string{"protocol": in.Console.Protocol, "type": in.Console.Type, "url": url}}, nil
}

func (a *API) showConsoleToken(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	c, err := a.nova.ConsoleConnection(r.Context(), r.PathValue("token"))
	if err != nil {
		return nil, err
	}
	return map[string]any{"console": map[string]any{"instance_uuid": c.ServerID, "host": c.Host, "port": nil, "internal_access_path": nil}}, nil
}
