package novaapi

import (
	"encoding/json"
	"net/http"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/policy"
)

// An actionHandler does one action of POST /servers/{id}/action. raw is the
// action's own value.
type actionHandler struct {
	rule    string
	do      func(a *API, r *httpapi.Request, s *nova.Server, raw json.RawMessage) (any, error)
	from    int // first microversion, 0 for 2.1
	removed int // microversion that took it away, 0 for none
}

// actionHandlers are the actions by their name in the body.
func actionHandlers() map[string]actionHandler {
	m := map[string]actionHandler{
		"os-start":            {rule: "servers:start", do: plain((*nova.Service).Start)},
		"os-stop":             {rule: "servers:stop", do: plain((*nova.Service).Stop)},
		"pause":               {rule: "os-pause-server:pause", do: plain((*nova.Service).Pause)},
		"unpause":             {rule: "os-pause-server:unpause", do: plain((*nova.Service).Unpause)},
		"suspend":             {rule: "os-suspend-server:suspend", do: plain((*nova.Service).Suspend)},
		"resume":              {rule: "os-suspend-server:resume", do: plain((*nova.Service).Resume)},
		"unlock":              {rule: "os-lock-server:unlock", do: plain((*nova.Service).Unlock)},
		"forceDelete":         {rule: "os-deferred-delete:force", do: plain((*nova.Service).Delete)},
		"lock":                {rule: "os-lock-server:lock", do: lockServer},
		"reboot":              {rule: "servers:reboot", do: rebootServer},
		"rebuild":             {rule: "servers:rebuild", do: rebuildServer},
		"createImage":         {rule: "servers:create_image", do: createImage},
		"os-getConsoleOutput": {rule: "os-console-output", do: consoleOutput},
		"os-getVNCConsole":    {rule: "os-remote-consoles", do: oldConsole("novnc"), removed: 6},
		"os-resetState":       {rule: "os-admin-actions:reset_state", do: resetState},
		"addSecurityGroup":    {rule: "os-security-groups:add", do: securityGroup(true)},
		"removeSecurityGroup": {rule: "os-security-groups:remove", do: securityGroup(false)},
	}
	for name, h := range map[string]struct {
		rule    string
		removed int
	}{
		"resize": {"servers:resize", 0}, "confirmResize": {"servers:confirm_resize", 0}, "revertResize": {"servers:revert_resize", 0},
		"migrate": {"os-migrate-server:migrate", 0}, "os-migrateLive": {"os-migrate-server:migrate_live", 0},
		"evacuate": {"os-evacuate", 0}, "shelve": {"os-shelve:shelve", 0}, "unshelve": {"os-shelve:unshelve", 0},
		"shelveOffload": {"os-shelve:shelve_offload", 0}, "rescue": {"os-rescue", 0}, "unrescue": {"os-unrescue", 0},
		"createBackup": {"os-create-backup", 0}, "changePassword": {"os-admin-password", 0}, "restore": {"os-deferred-delete:restore", 0},
		"trigger_crash_dump": {"servers:trigger_crash_dump", 0}, "injectNetworkInfo": {"os-admin-actions:inject_network_info", 0},
		"resetNetwork": {"os-admin-actions:inject_network_info", 0}, "os-getSPICEConsole": {"os-remote-consoles", 6},
		"os-getSerialConsole": {"os-remote-consoles", 6}, "os-getRDPConsole": {"os-remote-consoles", 6},
		"addFloatingIp": {"os-floating-ips:add", 44}, "removeFloatingIp": {"os-floating-ips:add", 44},
		"addFixedIp": {"os-multinic:add", 44}, "removeFixedIp": {"os-multinic:add", 44},
	} {
		m[name] = actionHandler{rule: h.rule, do: notBuilt(name), removed: h.removed}
	}
	return m
}

func (a *API) serverAction(r *httpapi.Request) (any, error) {
	var body map[string]json.RawMessage
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if len(body) != 1 {
		return nil, fault.New(fault.BadRequest, "the request must have one action, and has %d", len(body))
	}
	for name, raw := range body {
		h, ok := actionHandlers()[name]
		if !ok || r.Version().Before(2, h.from) || h.removed > 0 && r.Version().AtLeast(2, h.removed) {
			if h.removed > 0 {
				return nil, fault.New(fault.NotFound, "the resource could not be found")
			}
			return nil, fault.New(fault.BadRequest, "There is no such action: %.60s", name)
		}
		s, err := a.serverFor(r, func(t policy.Target) error { return r.EnforceRule(pre+h.rule, t) })
		if err != nil {
			return nil, err
		}
		return h.do(a, r, s, raw)
	}
	return nil, nil
}

// plain is an action without fields.
func plain(do func(*nova.Service, contextType, nova.ActionRequest) error) func(*API, *httpapi.Request, *nova.Server, json.RawMessage) (any, error) {
	return func(a *API, r *httpapi.Request, s *nova.Server, _ json.RawMessage) (any, error) {
		return nil, do(a.nova, r.Context(), a.action(r, s))
	}
}

func notBuilt(name string) func(*API, *httpapi.Request, *nova.Server, json.RawMessage) (any, error) {
	return func(*API, *httpapi.Request, *nova.Server, json.RawMessage) (any, error) {
		return nil, fault.New(fault.NotImplemented, "the action %s is not supported by this cloud yet", name)
	}
}

func decodeAction(raw json.RawMessage, v any) error {
	if string(raw) == "null" {
		return fault.New(fault.BadRequest, "the action must be an object")
	}
	return httpapi.DecodeJSON(raw, v, true)
}

func lockServer(a *API, r *httpapi.Request, s *nova.Server, raw json.RawMessage) (any, error) {
	var in struct {
		Reason string `json:"locked_reason"`
	}
	if r.Version().AtLeast(2, 73) && len(raw) > 0 && string(raw) != "null" {
		if err := decodeAction(raw, &in); err != nil {
			return nil, err
		}
	}
	return nil, a.nova.Lock(r.Context(), a.action(r, s), in.Reason)
}

func rebootServer(a *API, r *httpapi.Request, s *nova.Server, raw json.RawMessage) (any, error) {
	var in struct {
		Type string `json:"type"`
	}
	if err := decodeAction(raw, &in); err != nil {
		return nil, err
	}
	switch in.Type {
	case "SOFT", "soft", "Soft":
		return nil, a.nova.Reboot(r.Context(), a.action(r, s), "SOFT")
	case "HARD", "hard", "Hard":
		return nil, a.nova.Reboot(r.Context(), a.action(r, s), "HARD")
	}
	return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute type. Value: %.40s. It is not one of ['HARD', 'Hard', 'hard', 'SOFT', 'Soft', 'soft']", in.Type)
}

func resetState(a *API, r *httpapi.Request, s *nova.Server, raw json.RawMessage) (any, error) {
	var in struct {
		State string `json:"state"`
	}
	if err := decodeAction(raw, &in); err != nil {
		return nil, err
	}
	if in.State != "active" && in.State != "error" {
		return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute state. Value: %.40s. It is not one of ['active', 'error']", in.State)
	}
	return nil, a.nova.ResetState(r.Context(), a.action(r, s), in.State)
}

func securityGroup(add bool) func(*API, *httpapi.Request, *nova.Server, json.RawMessage) (any, error) {
	return func(a *API, r *httpapi.Request, s *nova.Server, raw json.RawMessage) (any, error) {
		var in struct {
			Name string `json:"name"`
		}
		if err := decodeAction(raw, &in); err != nil {
			return nil, err
		}
		if in.Name == "" {
			return nil, fault.New(fault.BadRequest, "Security group name cannot be empty")
		}
		return nil, a.nova.ChangeSecurityGroup(r.Context(), a.action(r, s), in.Name, add)
	}
}

func createImage(a *API, r *httpapi.Request, s *nova.Server, raw json.RawMessage) (any, error) {
	var in struct {
		Name     string            `json:"name"`
		Metadata map[string]string `json:"metadata"`
	}
	if err := decodeAction(raw, &in); err != nil {
		return nil, err
	}
	id, err := a.nova.CreateImage(r.Context(), a.action(r, s), in.Name, in.Metadata)
	if err != nil {
		return nil, err
	}
	if r.Version().AtLeast(2, 45) {
		return map[string]string{"image_id": id}, nil
	}
	return httpapi.Response{Header: http.Header{"Location": {a.url + "/images/" + id}}}, nil
}

type rebuildBody struct {
	ImageRef          string                   `json:"imageRef"`
	Name              string                   `json:"name"`
	AdminPass         string                   `json:"adminPass"`
	Metadata          map[string]string        `json:"metadata"`
	PreserveEphemeral looseBool                `json:"preserve_ephemeral"`
	DiskConfig        string                   `json:"OS-DCF:diskConfig"`
	AccessIPv4        httpapi.Nullable[string] `json:"accessIPv4"`
	AccessIPv6        httpapi.Nullable[string] `json:"accessIPv6"`
	Personality       []any                    `json:"personality"`
	Description       httpapi.Nullable[string] `json:"description"`
	KeyName           httpapi.Nullable[string] `json:"key_name"`
	UserData          httpapi.Nullable[string] `json:"user_data"`
	Trusted           []string                 `json:"trusted_image_certificates"`
	Hostname          string                   `json:"hostname"`
}

func (in *rebuildBody) checkVersion(v httpapi.Microversion) error {
	for _, f := range []struct {
		name  string
		set   bool
		minor int
	}{{"description", in.Description.Set, 19}, {"key_name", in.KeyName.Set, 54}, {"user_data", in.UserData.Set, 57},
		{"trusted_image_certificates", in.Trusted != nil, 63}, {"hostname", in.Hostname != "", 90}} {
		if f.set && v.Before(2, f.minor) {
			return unexpected(f.name)
		}
	}
	switch {
	case in.Personality != nil && v.AtLeast(2, 57):
		return unexpected("personality")
	case len(in.Trusted) > 0:
		return fault.New(fault.NotImplemented, "trusted image certificates are not supported")
	case in.ImageRef == "":
		return fault.New(fault.BadRequest, "Invalid input for field/attribute rebuild: 'imageRef' is a required property")
	}
	return nil
}

func rebuildServer(a *API, r *httpapi.Request, s *nova.Server, raw json.RawMessage) (any, error) {
	var in rebuildBody
	if err := decodeAction(raw, &in); err != nil {
		return nil, err
	}
	if err := in.checkVersion(r.Version()); err != nil {
		return nil, err
	}
	err := a.nova.Rebuild(r.Context(), a.action(r, s), nova.RebuildRequest{ImageID: in.ImageRef, Name: in.Name, Hostname: in.Hostname,
		Description: in.Description, Metadata: in.Metadata, DiskConfig: in.DiskConfig, AccessIPv4: in.AccessIPv4, AccessIPv6: in.AccessIPv6,
		KeyName: in.KeyName, UserData: in.UserData})
	if err != nil {
		return nil, err
	}
	if s, err = a.nova.Server(r.Context(), s.ID); err != nil {
		return nil, err
	}
	return a.viewRebuilt(r, s, in.AdminPass)
}

// viewRebuilt is the server as rebuild answers it: with a password, and since
// 2.54 and 2.57 with key and user data.
func (a *API) viewRebuilt(r *httpapi.Request, s *nova.Server, password string) (any, error) {
	body, err := a.viewServer(r, s, true)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Server map[string]json.RawMessage `json:"server"`
	}
	if err := json.Unmarshal(body.([]byte), &doc); err != nil {
		return nil, err
	}
	out := map[string]any{}
	for k, v := range doc.Server {
		out[k] = v
	}
	if password == "" {
		password = randomPassword()
	}
	out["adminPass"] = password
	if r.Version().AtLeast(2, 54) {
		out["key_name"] = orNil(s.KeyName)
	}
	if r.Version().AtLeast(2, 57) {
		out["user_data"] = orNil(s.UserData)
	}
	return httpapi.Response{Header: http.Header{"Location": {a.url + "/v2.1/servers/" + s.ID}}, Body: map[string]any{"server": out}}, nil
}
