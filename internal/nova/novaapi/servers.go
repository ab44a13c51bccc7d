package novaapi

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/policy"
)

func (a *API) addServerRoutes() {
	a.post("/servers", pre+"servers:create", http.StatusAccepted, a.createServer)
	a.get("/servers", pre+"servers:index", a.listServers)
	a.get("/servers/detail", pre+"servers:detail", a.listServersDetail)
	a.get("/servers/{server_id}", pre+"servers:show", a.showServer)
	a.put("/servers/{server_id}", pre+"servers:update", a.updateServer)
	a.del("/servers/{server_id}", pre+"servers:delete", http.StatusNoContent, a.deleteServer)
	a.post("/servers/{server_id}/action", httpapi.AnyToken, http.StatusAccepted, a.serverAction)
	a.get("/servers/{server_id}/diagnostics", pre+"os-server-diagnostics", a.showDiagnostics)
}

// server loads the server of the path and enforces the route's rule on it.
func (a *API) server(r *httpapi.Request) (*nova.Server, error) {
	return a.serverFor(r, r.Enforce)
}

// serverFor loads the server of the path and enforces a rule on it. A server of
// another project does not exist for those who may not act on it.
func (a *API) serverFor(r *httpapi.Request, enforce func(policy.Target) error) (*nova.Server, error) {
	return a.loaded(r, a.nova.Server, enforce)
}

// pastServer is server for what outlives one: its actions, since 2.21.
func (a *API) pastServer(r *httpapi.Request) (*nova.Server, error) {
	if r.Version().Before(2, 21) {
		return a.server(r)
	}
	return a.loaded(r, a.nova.AnyServer, r.Enforce)
}

func (a *API) loaded(r *httpapi.Request, load func(context.Context, string) (*nova.Server, error), enforce func(policy.Target) error) (*nova.Server, error) {
	id := r.PathValue("server_id")
	if !ids.IsUUID(id) {
		return nil, fault.New(fault.NotFound, "Instance %.60s could not be found.", id)
	}
	s, err := load(r.Context(), id)
	if err != nil {
		return nil, err
	}
	err = enforce(policy.Target{"project_id": s.ProjectID, "user_id": s.UserID})
	if fault.Is(err, fault.Forbidden) && s.ProjectID != r.Identity().ProjectID {
		return nil, fault.New(fault.NotFound, "Instance %s could not be found.", id)
	}
	return s, err
}

// action is the ActionRequest of a request on a server.
func (a *API) action(r *httpapi.Request, s *nova.Server) nova.ActionRequest {
	return nova.ActionRequest{Identity: r.Identity(), Server: s, RequestID: r.ID(), IdempotencyKey: r.Header.Get("Idempotency-Key"),
		OverrideLock: r.Allowed(pre+"os-lock-server:unlock:unlock_override", nil)}
}

func (a *API) showServer(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	return a.viewServer(r, s, false)
}

// viewServer shows one server; changed says that the answer is an update's or a
// rebuild's, which had fewer fields before 2.75.
func (a *API) viewServer(r *httpapi.Request, s *nova.Server, changed bool) (any, error) {
	w := a.newServerView(r, true)
	w.short = changed && r.Version().Before(2, 75)
	w.extraSpecs = r.Allowed(pre+"servers:show:flavor-extra-specs", policy.Target{"project_id": s.ProjectID})
	if err := a.fillHostStates(r, w, []nova.Server{*s}); err != nil {
		return nil, err
	}
	w.open('{')
	w.detail("server", s)
	w.close('}')
	return w.b, nil
}

// fillHostStates finds host_status where it is shown.
func (a *API) fillHostStates(r *httpapi.Request, w *serverView, list []nova.Server) error {
	if !w.hostStatus || w.v.Before(2, 16) || len(list) == 0 {
		return nil
	}
	services, err := a.nova.HostServices(r.Context(), "", nova.BinaryCompute)
	if err != nil {
		return err
	}
	w.hostState = map[string]string{"": ""}
	for _, svc := range services {
		switch {
		case svc.ForcedDown:
			w.hostState[svc.Host] = "DOWN"
		case !svc.Up:
			w.hostState[svc.Host] = "UNKNOWN"
		case svc.Disabled:
			w.hostState[svc.Host] = "MAINTENANCE"
		default:
			w.hostState[svc.Host] = "UP"
		}
	}
	return nil
}

func (a *API) listServers(r *httpapi.Request) (any, error) {
	return a.list(r, "servers:index", "/servers")
}

func (a *API) listServersDetail(r *httpapi.Request) (any, error) {
	return a.list(r, "servers:detail", "/servers/detail")
}

func (a *API) list(r *httpapi.Request, rule, path string) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	f, err := a.serverFilter(r, rule)
	if err != nil {
		return nil, err
	}
	f.Brief = path == "/servers"
	w := a.newServerView(r, false)
	f.UserData = w.attributes && w.v.AtLeast(2, 3)
	limit := f.Limit
	f.Limit++ // one more tells whether there is a next page
	list, err := a.nova.Servers(r.Context(), f)
	if err != nil {
		return nil, err
	}
	more := len(list) > limit
	if more {
		list = list[:limit]
	}
	if !f.Brief {
		if err := a.fillHostStates(r, w, list); err != nil {
			return nil, err
		}
	}
	w.open('{')
	w.arr("servers")
	for i := range list {
		if f.Brief {
			w.brief(&list[i])
		} else {
			w.detail("", &list[i])
		}
	}
	w.endArr()
	if more && limit > 0 {
		w.arr("servers_links")
		w.link(r.NextLink("/v2.1"+path, list[limit-1].ID), "next")
		w.endArr()
	}
	w.close('}')
	return w.b, nil
}

// userFilters are the filters that everybody may use.
var userFilters = []string{"reservation_id", "name", "status", "image", "flavor", "ip", "changes-since", "changes-before", "all_tenants",
	"ip6", "tags", "tags-any", "not-tags", "not-tags-any", "locked", "limit", "marker", "sort_key", "sort_dir", "sort", "deleted",
	// since 2.83 (before, administrators only):
	"availability_zone", "config_drive", "key_name", "created_at", "launched_at", "terminated_at", "power_state", "task_state", "vm_state",
	"progress", "user_id"}

// serverFilter reads the query of a list. Filters that the caller may not use
// are ignored, as Nova does; unknown ones too before 2.75.
func (a *API) serverFilter(r *httpapi.Request, rule string) (*nova.ServerFilter, error) {
	page, err := r.Page(httpapi.PageConfig{DefaultLimit: maxLimit, MaxLimit: maxLimit, SortKeys: nova.SortColumns(),
		Default: []httpapi.Sort{{Key: "created_at", Desc: true}}})
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	f := &nova.ServerFilter{ProjectID: r.Identity().ProjectID, Limit: page.Limit, Marker: page.Marker, Equal: map[string]string{}}
	for _, s := range page.Sort {
		f.Sort = append(f.Sort, nova.SortKey{Column: s.Key, Desc: s.Desc})
	}
	all, err := queryBool(q.Get("all_tenants"), q.Has("all_tenants"))
	if err != nil {
		return nil, err
	}
	everything := r.Allowed(pre+"servers:allow_all_filters", nil)
	if all {
		if err := r.EnforceRule(pre+rule+":get_all_tenants", nil); err != nil {
			return nil, err
		}
		f.ProjectID = ""
	}
	for name, values := range q {
		v := values[0]
		if !everything && !slices.Contains(userFilters, name) {
			continue
		}
		if !all && (name == "project_id" || name == "tenant_id") {
			continue // only together with all_tenants
		}
		if err := setFilter(f, name, v, values, r.Version()); err != nil {
			return nil, err
		}
	}
	if f.Deleted && !everything {
		f.Deleted = false
	}
	return f, nil
}

func setFilter(f *nova.ServerFilter, name, v string, values []string, ver httpapi.Microversion) (err error) {
	tags := func(into *[]string) error {
		if ver.AtLeast(2, 26) {
			*into = strings.Split(v, ",")
		}
		return nil
	}
	switch name {
	case "name", "display_name":
		f.Name = v
	case "status":
		f.Status = values
	case "ip":
		f.IP = v
	case "ip6":
		f.IPv6 = v
	case "changes-since":
		f.ChangesSince, err = queryTime(name, v)
		f.WithDeleted = true
	case "changes-before":
		if ver.AtLeast(2, 66) {
			f.ChangesBefore, err = queryTime(name, v)
		}
	case "deleted":
		f.Deleted, err = queryBool(v, true)
	case "locked":
		if ver.AtLeast(2, 73) {
			var b bool
			if b, err = queryBool(v, true); err == nil {
				f.Locked = &b
			}
		}
	case "tags":
		return tags(&f.Tags)
	case "tags-any":
		return tags(&f.TagsAny)
	case "not-tags":
		return tags(&f.NotTags)
	case "not-tags-any":
		return tags(&f.NotTagsAny)
	case "image":
		f.Equal["image_id"] = refID(v)
	case "flavor":
		f.Equal["flavor_id"] = refID(v)
	default:
		if col, ok := nova.FilterColumn(name); ok {
			f.Equal[col] = v
		}
	}
	return err
}

// refID is the id at the end of a reference, which may be a URL.
func refID(ref string) string { return ref[strings.LastIndex(ref, "/")+1:] }

func queryBool(v string, set bool) (bool, error) {
	if !set {
		return false, nil
	}
	switch strings.ToLower(v) {
	case "", "1", "true", "t", "yes", "on", "y":
		return true, nil
	case "0", "false", "f", "no", "off", "n":
		return false, nil
	}
	return false, fault.New(fault.BadRequest, "Invalid input: %.40q is not a boolean", v)
}

func queryTime(name, v string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04:05.999999", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, v); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fault.New(fault.BadRequest, "Invalid input for query parameters %s: %.40q is not a time", name, v)
}

type updateBody struct {
	Server *struct {
		Name        string                   `json:"name"`
		DiskConfig  string                   `json:"OS-DCF:diskConfig"`
		AccessIPv4  httpapi.Nullable[string] `json:"accessIPv4"`
		AccessIPv6  httpapi.Nullable[string] `json:"accessIPv6"`
		Description httpapi.Nullable[string] `json:"description"`
		Hostname    string                   `json:"hostname"`
	} `json:"server"`
}

func (a *API) updateServer(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	var in updateBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Server == nil {
		return nil, fault.New(fault.BadRequest, "'server' is a required property")
	}
	if in.Server.Description.Set && r.Version().Before(2, 19) {
		return nil, unexpected("description")
	}
	if in.Server.Hostname != "" && r.Version().Before(2, 90) {
		return nil, unexpected("hostname")
	}
	c := in.Server
	s, err = a.nova.UpdateServer(r.Context(), s, nova.ServerChange{Name: c.Name, Hostname: c.Hostname, DiskConfig: c.DiskConfig,
		Description: c.Description, AccessIPv4: c.AccessIPv4, AccessIPv6: c.AccessIPv6})
	if err != nil {
		return nil, err
	}
	return a.viewServer(r, s, true)
}

func (a *API) deleteServer(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	return nil, a.nova.Delete(r.Context(), a.action(r, s))
}

func (a *API) showDiagnostics(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	d, err := a.nova.Diagnostics(r.Context(), s)
	if err != nil {
		return nil, err
	}
	if r.Version().Before(2, 48) {
		return viewOldDiagnostics(d), nil
	}
	return viewDiagnostics(d), nil
}

func atoi(s string) (int, error) { return strconv.Atoi(s) }
