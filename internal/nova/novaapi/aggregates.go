package novaapi

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/nova"
)

func (a *API) addAggregateRoutes() {
	a.get("/os-aggregates", pre+"os-aggregates:index", a.listAggregates)
	a.post("/os-aggregates", pre+"os-aggregates:create", http.StatusOK, a.createAggregate)
	a.get("/os-aggregates/{id}", pre+"os-aggregates:show", a.showAggregate)
	a.put("/os-aggregates/{id}", pre+"os-aggregates:update", a.updateAggregate)
	a.del("/os-aggregates/{id}", pre+"os-aggregates:delete", http.StatusOK, a.deleteAggregate)
	a.post("/os-aggregates/{id}/action", httpapi.AnyToken, http.StatusOK, a.aggregateAction)
}

func viewAggregate(x *nova.Aggregate, r *httpapi.Request) map[string]any {
	out := map[string]any{"id": x.ID, "name": x.Name, "availability_zone": orNil(x.Zone()), "hosts": x.Hosts, "metadata": x.Metadata,
		"created_at": x.CreatedAt.Format(isoMicros), "updated_at": nil, "deleted": false, "deleted_at": nil}
	if x.Metadata == nil {
		out["metadata"] = map[string]string{}
	}
	if !x.UpdatedAt.IsZero() {
		out["updated_at"] = x.UpdatedAt.Format(isoMicros)
	}
	if r.Version().AtLeast(2, 41) {
		out["uuid"] = x.UUID
	}
	return out
}

func aggregateID(r *httpapi.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 63)
	if err != nil {
		return 0, fault.New(fault.BadRequest, "Aggregate id %.60q is not a whole number", r.PathValue("id"))
	}
	return id, nil
}

func (a *API) listAggregates(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	list, err := a.nova.Aggregates(r.Context())
	if err != nil {
		return nil, err
	}
	views := []map[string]any{}
	for _, x := range list {
		views = append(views, viewAggregate(x, r))
	}
	return map[string]any{"aggregates": views}, nil
}

type aggregateBody struct {
	Aggregate *struct {
		Name string                   `json:"name"`
		Zone httpapi.Nullable[string] `json:"availability_zone"`
	} `json:"aggregate"`
}

func (a *API) createAggregate(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in aggregateBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Aggregate == nil {
		return nil, fault.New(fault.BadRequest, "'aggregate' is a required property")
	}
	x := nova.Aggregate{Name: in.Aggregate.Name, Metadata: map[string]string{}}
	if z := in.Aggregate.Zone; z.Set && !z.Null {
		x.Metadata["availability_zone"] = z.Value
	}
	if err := a.nova.CreateAggregate(r.Context(), &x); err != nil {
		return nil, err
	}
	v := viewAggregate(&x, r)
	delete(v, "hosts") // Nova shows neither where it creates one
	delete(v, "metadata")
	return map[string]any{"aggregate": v}, nil
}

func (a *API) showAggregate(r *httpapi.Request) (any, error) {
	return a.withAggregate(r, func(id int64) (*nova.Aggregate, error) { return a.nova.Aggregate(r.Context(), id) })
}

// withAggregate enforces, reads the id and shows what do returns.
func (a *API) withAggregate(r *httpapi.Request, do func(id int64) (*nova.Aggregate, error)) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	id, err := aggregateID(r)
	if err != nil {
		return nil, err
	}
	x, err := do(id)
	if err != nil {
		return nil, err
	}
	return map[string]any{"aggregate": viewAggregate(x, r)}, nil
}

func (a *API) updateAggregate(r *httpapi.Request) (any, error) {
	return a.withAggregate(r, func(id int64) (*nova.Aggregate, error) {
		var in aggregateBody
		if err := r.Decode(&in); err != nil {
			return nil, err
		}
		if in.Aggregate == nil || in.Aggregate.Name == "" && !in.Aggregate.Zone.Set {
			return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute aggregate: {} does not have enough properties")
		}
		meta := map[string]*string{}
		if z := in.Aggregate.Zone; z.Set {
			meta["availability_zone"] = &z.Value
			if z.Null {
				meta["availability_zone"] = nil
			}
		}
		return a.nova.UpdateAggregate(r.Context(), id, in.Aggregate.Name, meta)
	})
}

func (a *API) deleteAggregate(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	id, err := aggregateID(r)
	if err != nil {
		return nil, err
	}
	return nil, a.nova.DeleteAggregate(r.Context(), id)
}

func (a *API) aggregateAction(r *httpapi.Request) (any, error) {
	var body map[string]json.RawMessage
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	rules := map[string]string{"add_host": "add_host", "remove_host": "remove_host", "set_metadata": "set_metadata"}
	for name, raw := range body {
		if rules[name] == "" || len(body) != 1 {
			break
		}
		if err := r.EnforceRule(pre+"os-aggregates:"+rules[name], nil); err != nil {
			return nil, err
		}
		return a.withAggregate(r, func(id int64) (*nova.Aggregate, error) { return a.doAggregate(r, id, name, raw) })
	}
	return nil, fault.New(fault.BadRequest, "There is no such action")
}

func (a *API) doAggregate(r *httpapi.Request, id int64, name string, raw json.RawMessage) (*nova.Aggregate, error) {
	if name == "set_metadata" {
		var in struct {
			Metadata map[string]*string `json:"metadata"`
		}
		if err := decodeAction(raw, &in); err != nil {
			return nil, err
		}
		if in.Metadata == nil {
			return nil, fault.New(fault.BadRequest, "'metadata' is a required property")
		}
		return a.nova.UpdateAggregate(r.Context(), id, "", in.Metadata)
	}
	var in struct {
		Host string `json:"host"`
	}
	if err := decodeAction(raw, &in); err != nil {
		return nil, err
	}
	if name == "add_host" {
		return a.nova.AddAggregateHost(r.Context(), id, in.Host)
	}
	return a.nova.RemoveAggregateHost(r.Context(), id, in.Host)
}
