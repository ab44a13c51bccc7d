package novaapi

import (
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/policy"
)

func (a *API) addInstanceActionRoutes() {
	const s = "/servers/{server_id}"
	a.get(s+"/os-instance-actions", pre+"os-instance-actions:list", a.listActions)
	a.get(s+"/os-instance-actions/{request_id}", pre+"os-instance-actions:show", a.showAction)
	a.get(s+"/hastack-trace", pre+"hastack-trace", a.showTrace)
}

func viewAction(x *nova.Action, r *httpapi.Request) map[string]any {
	out := map[string]any{"action": x.Action, "instance_uuid": x.ServerID, "message": orNil(x.Message), "project_id": x.ProjectID,
		"request_id": x.RequestID, "start_time": x.StartTime.Format(isoMicros), "user_id": x.UserID}
	if r.Version().AtLeast(2, 58) {
		out["updated_at"] = x.UpdatedAt.Format(isoMicros)
	}
	return out
}

func (a *API) listActions(r *httpapi.Request) (any, error) {
	s, err := a.pastServer(r)
	if err != nil {
		return nil, err
	}
	f := nova.ActionFilter{Limit: maxLimit}
	if r.Version().AtLeast(2, 58) {
		page, err := r.Page(httpapi.PageConfig{DefaultLimit: maxLimit, MaxLimit: maxLimit})
		if err != nil {
			return nil, err
		}
		f.Limit, f.Marker = page.Limit, page.Marker
		q := r.URL.Query()
		for name, into := range map[string]*time.Time{"changes-since": &f.ChangesSince, "changes-before": &f.ChangesBefore} {
			if v := q.Get(name); v != "" {
				if *into, err = queryTime(name, v); err != nil {
					return nil, err
				}
			}
		}
	}
	limit := f.Limit
	f.Limit++
	list, err := a.nova.Actions(r.Context(), s.ID, f)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	if len(list) > limit {
		list = list[:limit]
		if limit > 0 {
			out["links"] = []link{{r.NextLink("/v2.1/servers/"+s.ID+"/os-instance-actions", list[limit-1].RequestID), "next"}}
		}
	}
	views := []map[string]any{}
	for i := range list {
		views = append(views, viewAction(&list[i], r))
	}
	out["instanceActions"] = views
	return out, nil
}

func (a *API) showAction(r *httpapi.Request) (any, error) {
	s, err := a.pastServer(r)
	if err != nil {
		return nil, err
	}
	action, events, err := a.nova.Action(r.Context(), s.ID, r.PathValue("request_id"))
	if err != nil {
		return nil, err
	}
	out := viewAction(action, r)
	full := r.Allowed(pre+"os-instance-actions:events", policy.Target{"project_id": s.ProjectID})
	if full || r.Version().AtLeast(2, 51) {
		views := []map[string]any{}
		for i := range events {
			views = append(views, viewEvent(&events[i], s, r, full))
		}
		out["events"] = views
	}
	return map[string]any{"instanceAction": out}, nil
}

// viewEvent shows an event; where it happened only to those who may know.
func viewEvent(e *nova.ActionEvent, s *nova.Server, r *httpapi.Request, full bool) map[string]any {
	out := map[string]any{"event": e.Event, "start_time": e.StartTime.Format(isoMicros), "finish_time": nil, "result": orNil(e.Result)}
	if !e.FinishTime.IsZero() {
		out["finish_time"] = e.FinishTime.Format(isoMicros)
	}
	if full {
		out["traceback"] = nil
	}
	if r.Version().AtLeast(2, 62) {
		if full {
			out["host"] = e.Host
		}
		out["hostId"] = hostID(s.ProjectID, e.Host)
	}
	if full && r.Version().AtLeast(2, 84) {
		out["details"] = orNil(e.Details)
	}
	return out
}

type stepView struct {
	N        int    `json:"n"`
	Name     string `json:"name"`
	Actor    string `json:"actor"`
	Peer     string `json:"peer"`
	Protocol string `json:"protocol"`
	Start    string `json:"start"`
	Millis   any    `json:"duration_ms"` // null where nobody knows it any more
	Outcome  string `json:"outcome"`
	Detail   string `json:"detail"`
}

// showTrace is Hastack's own: the 28 steps of a boot, or those of another
// action with ?request_id=.
func (a *API) showTrace(r *httpapi.Request) (any, error) {
	s, err := a.pastServer(r)
	if err != nil {
		return nil, err
	}
	tr, err := a.nova.Trace(r.Context(), s.ID, r.URL.Query().Get("request_id"))
	if err != nil {
		return nil, err
	}
	hosts := r.Allowed(pre+"hastack-trace:hosts", nil)
	steps := []stepView{}
	for _, st := range tr.Steps {
		v := stepView{st.N, st.Name, st.Actor, st.Peer, st.Protocol, st.Start.UTC().Format(time.RFC3339Nano),
			float64(st.Duration.Microseconds()) / 1000, st.Outcome, st.Detail}
		if st.N <= 2 && st.Duration == 0 {
			v.Millis = nil
		}
		if !hosts {
			v.Actor, v.Peer = hideHost(v.Actor), hideHost(v.Peer)
		}
		steps = append(steps, v)
	}
	out := map[string]any{"server_id": s.ID, "action": tr.Action.Action, "request_id": tr.Action.RequestID,
		"start_time": tr.Action.StartTime.Format(isoMicros), "message": orNil(tr.Action.Message), "status": s.Status(), "steps": steps}
	if s.Fault != nil {
		out["fault"] = s.Fault.Message
	}
	return map[string]any{"trace": out}, nil
}

// hideHost cuts the host off "nova-compute@host".
func hideHost(name string) string {
	for i := range len(name) {
		if name[i] == '@' {
			return name[:i]
		}
	}
	return name
}

func notFound(what, id string) error {
	return fault.New(fault.NotFound, "%s %.100s could not be found.", what, id)
}
