package neutronapi

import (
	"maps"
	"slices"
	"strings"

	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/neutron"
)

func lower(s string) string { return strings.ToLower(s) }

func (a *API) listQuotas(r *httpapi.Request) (any, error) {
	if err := r.Enforce(owned("")); err != nil {
		return nil, err
	}
	all, err := a.neutron.ProjectQuotas(r.Context())
	if err != nil {
		return nil, err
	}
	views := []any{}
	for _, project := range slices.Sorted(maps.Keys(all)) {
		v := map[string]any{"project_id": project, "tenant_id": project}
		for k, n := range all[project] {
			v[k] = n
		}
		views = append(views, v)
	}
	return map[string]any{"quotas": views}, nil
}

func (a *API) showQuotas(r *httpapi.Request) (any, error) {
	project := r.PathValue("id")
	if err := r.Enforce(owned(project)); err != nil {
		return nil, err
	}
	limits, err := a.neutron.Quotas(r.Context(), project)
	if err != nil {
		return nil, err
	}
	return map[string]any{"quota": limits}, nil
}

func (a *API) showDefaultQuotas(r *httpapi.Request) (any, error) {
	return map[string]any{"quota": a.neutron.DefaultQuotas()}, r.Enforce(owned(r.PathValue("id")))
}

type quotaDetailView struct {
	Limit    int64 `json:"limit"`
	Used     int64 `json:"used"`
	Reserved int64 `json:"reserved"`
}

func (a *API) showQuotaDetails(r *httpapi.Request) (any, error) {
	project := r.PathValue("id")
	if err := r.Enforce(owned(project)); err != nil {
		return nil, err
	}
	details, err := a.neutron.QuotaDetails(r.Context(), project)
	if err != nil {
		return nil, err
	}
	out := map[string]quotaDetailView{}
	for k, d := range details {
		out[k] = quotaDetailView(d)
	}
	return map[string]any{"quota": out}, nil
}

func (a *API) updateQuotas(r *httpapi.Request) (any, error) {
	project := r.PathValue("id")
	f, err := a.updateForm(r, "quota", owned(project))
	if err != nil {
		return nil, err
	}
	limits := map[string]int64{}
	for name := range a.neutron.DefaultQuotas() {
		var n int
		if f.integer(name, &n) {
			limits[name] = int64(n)
		}
	}
	var check, force bool
	f.boolean("check_limit", &check)
	f.boolean("force", &force)
	f.take("tenant_id")
	f.take("project_id")
	if err := f.done(); err != nil {
		return nil, err
	}
	if err := a.neutron.SetQuotas(r.Context(), project, limits, check && !force); err != nil {
		return nil, err
	}
	out, err := a.neutron.Quotas(r.Context(), project)
	if err != nil {
		return nil, err
	}
	return map[string]any{"quota": out}, nil
}

func (a *API) deleteQuotas(r *httpapi.Request) (any, error) {
	if err := r.Enforce(owned(r.PathValue("id"))); err != nil {
		return nil, err
	}
	return nil, a.neutron.DeleteQuotas(r.Context(), r.PathValue("id"))
}

// tagHandlers are the tag routes of one kind of resource.
type tagHandlers struct {
	a    *API
	kind neutron.Kind
}

// resource finds the tagged resource and checks the rule: what the caller may
// not see is not found, what it may see but not change is forbidden.
func (h tagHandlers) resource(r *httpapi.Request) (neutron.Lines, error) {
	project, tags, err := h.a.neutron.Owner(r.Context(), h.a.caller(r), h.kind, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	t := owned(project)
	t["shared"] = true // seen already, so that reading is allowed
	return tags, r.Enforce(t)
}

func (h tagHandlers) list(r *httpapi.Request) (any, error) {
	tags, err := h.resource(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"tags": list(tags)}, nil
}

func (h tagHandlers) has(r *httpapi.Request) (any, error) {
	tags, err := h.resource(r)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(tags, r.PathValue("tag")) {
		return nil, neutron.TagNotFound(r.PathValue("tag"))
	}
	return nil, nil
}

func (h tagHandlers) change(r *httpapi.Request, fn func(tags neutron.Lines) (neutron.Lines, error)) (neutron.Lines, error) {
	if _, err := h.resource(r); err != nil {
		return nil, err
	}
	return h.a.neutron.ChangeTags(r.Context(), h.a.caller(r), h.kind, r.PathValue("id"), fn)
}

func (h tagHandlers) replace(r *httpapi.Request) (any, error) {
	var in struct {
		Tags *[]string `json:"tags"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Tags == nil {
		return nil, badRequest("Invalid tags body")
	}
	tags, err := h.change(r, func(neutron.Lines) (neutron.Lines, error) { return *in.Tags, nil })
	if err != nil {
		return nil, err
	}
	return map[string]any{"tags": list(tags)}, nil
}

func (h tagHandlers) add(r *httpapi.Request) (any, error) {
	_, err := h.change(r, func(tags neutron.Lines) (neutron.Lines, error) { return append(tags, r.PathValue("tag")), nil })
	return nil, err
}

func (h tagHandlers) remove(r *httpapi.Request) (any, error) {
	tag := r.PathValue("tag")
	_, err := h.change(r, func(tags neutron.Lines) (neutron.Lines, error) {
		i := slices.Index(tags, tag)
		if i < 0 {
			return nil, neutron.TagNotFound(tag)
		}
		return slices.Delete(tags, i, i+1), nil
	})
	return nil, err
}

func (h tagHandlers) removeAll(r *httpapi.Request) (any, error) {
	_, err := h.change(r, func(neutron.Lines) (neutron.Lines, error) { return nil, nil })
	return nil, err
}
