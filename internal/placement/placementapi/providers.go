package placementapi

import (
	"net/http"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/placement"
)

type link struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

type providerView struct {
	UUID       string `json:"uuid"`
	Name       string `json:"name"`
	Generation int64  `json:"generation"`
	Links      []link `json:"links"`
}

type treeProviderView struct {
	providerView
	Parent *string `json:"parent_provider_uuid"`
	Root   string  `json:"root_provider_uuid"`
}

func (a *API) viewProvider(r *httpapi.Request, p *placement.Provider) any {
	self := a.prefix + "/resource_providers/" + p.UUID
	v := providerView{UUID: p.UUID, Name: p.Name, Generation: p.Generation, Links: []link{{"self", self}}}
	for _, l := range []struct {
		minor int
		name  string
	}{{0, "inventories"}, {0, "usages"}, {1, "aggregates"}, {6, "traits"}, {11, "allocations"}} {
		if version(r, l.minor) {
			v.Links = append(v.Links, link{l.name, self + "/" + l.name})
		}
	}
	if !version(r, 14) {
		return v
	}
	return treeProviderView{providerView: v, Parent: nullable(p.ParentUUID), Root: p.RootUUID}
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (a *API) listProviders(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	f, err := readListFilter(r)
	if err != nil {
		return nil, err
	}
	list, err := a.placement.Providers(r.Context(), f)
	if err != nil {
		return nil, err
	}
	views := make([]any, len(list))
	for i, p := range list {
		views[i] = a.viewProvider(r, p)
	}
	return a.fresh(r, 0, map[string]any{"resource_providers": views}), nil
}

type providerBody struct {
	UUID   *string                  `json:"uuid"`
	Name   *string                  `json:"name"`
	Parent httpapi.Nullable[string] `json:"parent_provider_uuid"`
}

func (b *providerBody) read(r *httpapi.Request) error {
	if err := r.Decode(b); err != nil {
		return err
	}
	if b.Name == nil {
		return fault.New(fault.BadRequest, "name is a required property")
	}
	if b.Parent.Set && !version(r, 14) {
		return fault.New(fault.BadRequest, "additional properties are not allowed (\"parent_provider_uuid\" was unexpected)")
	}
	for name, v := range map[string]string{"uuid": deref(b.UUID), "parent_provider_uuid": b.Parent.Value} {
		if v != "" && !ids.IsUUID(v) {
			return fault.New(fault.BadRequest, "%s: %.60q is not a uuid", name, v)
		}
	}
	return nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (a *API) createProvider(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in providerBody
	if err := in.read(r); err != nil {
		return nil, err
	}
	p, err := a.placement.CreateProvider(r.Context(), deref(in.UUID), *in.Name, in.Parent.Value)
	if err != nil {
		return nil, err
	}
	resp := a.fresh(r, http.StatusOK, a.viewProvider(r, p))
	if !version(r, 20) {
		resp.Status, resp.Body = http.StatusCreated, nil
	}
	resp.Header.Set("Location", r.PublicURL()+"/resource_providers/"+p.UUID)
	return resp, nil
}

func (a *API) showProvider(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	p, err := a.placement.Provider(r.Context(), r.PathValue("uuid"))
	if err != nil {
		return nil, err
	}
	return a.fresh(r, 0, a.viewProvider(r, p)), nil
}

func (a *API) updateProvider(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in providerBody
	if err := in.read(r); err != nil {
		return nil, err
	}
	if in.UUID != nil && *in.UUID != r.PathValue("uuid") {
		return nil, fault.New(fault.BadRequest, "additional properties are not allowed (\"uuid\" was unexpected)")
	}
	u := placement.ProviderUpdate{Name: in.Name, MayMove: version(r, 37)}
	if in.Parent.Set {
		u.Parent = &in.Parent.Value
	}
	p, err := a.placement.UpdateProvider(r.Context(), r.PathValue("uuid"), u)
	if err != nil {
		return nil, err
	}
	return a.fresh(r, 0, a.viewProvider(r, p)), nil
}

func (a *API) deleteProvider(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	return nil, a.placement.DeleteProvider(r.Context(), r.PathValue("uuid"))
}
