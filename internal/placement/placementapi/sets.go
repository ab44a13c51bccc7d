package placementapi

import (
	"net/http"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/placement"
)

// orEmpty shows an empty list as [].
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func viewTraits(p *placement.Provider) map[string]any {
	return map[string]any{"traits": orEmpty(p.Traits), "resource_provider_generation": p.Generation}
}

func (a *API) providerTraits(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if err := since(r, 6); err != nil {
		return nil, err
	}
	p, err := a.placement.Provider(r.Context(), r.PathValue("uuid"))
	if err != nil {
		return nil, err
	}
	return a.fresh(r, 0, viewTraits(p)), nil
}

func (a *API) setProviderTraits(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if err := since(r, 6); err != nil {
		return nil, err
	}
	var in struct {
		Generation *int64    `json:"resource_provider_generation"`
		Traits     *[]string `json:"traits"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Generation == nil || in.Traits == nil {
		return nil, fault.New(fault.BadRequest, "resource_provider_generation and traits are required properties")
	}
	p, err := a.placement.SetTraits(r.Context(), r.PathValue("uuid"), in.Generation, *in.Traits)
	if err != nil {
		return nil, err
	}
	return a.fresh(r, 0, viewTraits(p)), nil
}

func (a *API) deleteProviderTraits(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if err := since(r, 6); err != nil {
		return nil, err
	}
	_, err := a.placement.SetTraits(r.Context(), r.PathValue("uuid"), nil, nil)
	return nil, err
}

func viewAggregates(r *httpapi.Request, p *placement.Provider) map[string]any {
	v := map[string]any{"aggregates": orEmpty(p.Aggregates)}
	if version(r, 19) {
		v["resource_provider_generation"] = p.Generation
	}
	return v
}

func (a *API) providerAggregates(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if err := since(r, 1); err != nil {
		return nil, err
	}
	p, err := a.placement.Provider(r.Context(), r.PathValue("uuid"))
	if err != nil {
		return nil, err
	}
	return a.fresh(r, 0, viewAggregates(r, p)), nil
}

// setProviderAggregates takes a bare list before 1.19, and an object with the
// generation after.
func (a *API) setProviderAggregates(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if err := since(r, 1); err != nil {
		return nil, err
	}
	var in struct {
		Generation *int64    `json:"resource_provider_generation"`
		Aggregates *[]string `json:"aggregates"`
	}
	var body any = &in
	if !version(r, 19) {
		in.Aggregates = new([]string)
		body = in.Aggregates
	}
	if err := r.Decode(body); err != nil {
		return nil, err
	}
	if in.Aggregates == nil || version(r, 19) && in.Generation == nil {
		return nil, fault.New(fault.BadRequest, "resource_provider_generation and aggregates are required properties")
	}
	seen := map[string]bool{}
	for _, uuid := range *in.Aggregates {
		if !ids.IsUUID(uuid) || seen[uuid] {
			return nil, fault.New(fault.BadRequest, "aggregates: %.60q is not a uuid or is there twice", uuid)
		}
		seen[uuid] = true
	}
	p, err := a.placement.SetAggregates(r.Context(), r.PathValue("uuid"), in.Generation, *in.Aggregates)
	if err != nil {
		return nil, err
	}
	return a.fresh(r, 0, viewAggregates(r, p)), nil
}

func (a *API) listTraits(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if err := since(r, 6); err != nil {
		return nil, err
	}
	f, err := readTraitFilter(r)
	if err != nil {
		return nil, err
	}
	list, err := a.placement.Traits(r.Context(), f)
	if err != nil {
		return nil, err
	}
	return a.fresh(r, 0, map[string]any{"traits": orEmpty(list)}), nil
}

func (a *API) showTrait(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if err := since(r, 6); err != nil {
		return nil, err
	}
	if err := a.placement.Trait(r.Context(), r.PathValue("name")); err != nil {
		return nil, err
	}
	return a.fresh(r, 0, nil), nil
}

func (a *API) createTrait(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if err := since(r, 6); err != nil {
		return nil, err
	}
	isNew, err := a.placement.CreateTrait(r.Context(), r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return a.made(r, isNew, "/traits/"+r.PathValue("name")), nil
}

// made answers 201 for something new and 204 for something that was there.
func (a *API) made(r *httpapi.Request, isNew bool, path string) *httpapi.Response {
	resp := a.fresh(r, http.StatusNoContent, nil)
	if isNew {
		resp.Status = http.StatusCreated
	}
	resp.Header.Set("Location", r.PublicURL()+path)
	return resp
}

func (a *API) deleteTrait(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if err := since(r, 6); err != nil {
		return nil, err
	}
	return nil, a.placement.DeleteTrait(r.Context(), r.PathValue("name"))
}

type classView struct {
	Name  string `json:"name"`
	Links []link `json:"links"`
}

func (a *API) viewClass(name string) classView {
	return classView{name, []link{{"self", a.prefix + "/resource_classes/" + name}}}
}

func (a *API) listClasses(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if err := since(r, 2); err != nil {
		return nil, err
	}
	names, err := a.placement.ResourceClasses(r.Context())
	if err != nil {
		return nil, err
	}
	views := make([]classView, len(names))
	for i, n := range names {
		views[i] = a.viewClass(n)
	}
	return a.fresh(r, 0, map[string]any{"resource_classes": views}), nil
}

func (a *API) showClass(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if err := since(r, 2); err != nil {
		return nil, err
	}
	if err := a.placement.ResourceClass(r.Context(), r.PathValue("name")); err != nil {
		return nil, err
	}
	return a.fresh(r, 0, a.viewClass(r.PathValue("name"))), nil
}

type nameBody struct {
	Name string `json:"name"`
}

func (a *API) createClass(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if err := since(r, 2); err != nil {
		return nil, err
	}
	var in nameBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	isNew, err := a.placement.CreateResourceClass(r.Context(), in.Name)
	if err != nil {
		return nil, err
	}
	if !isNew {
		return nil, fault.New(fault.Conflict, "conflicting resource class already exists: %s", in.Name)
	}
	return a.made(r, true, "/resource_classes/"+in.Name), nil
}

// putClass makes the class since 1.7; before, it renamed one.
func (a *API) putClass(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if err := since(r, 2); err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	if version(r, 7) {
		isNew, err := a.placement.CreateResourceClass(r.Context(), name)
		if err != nil {
			return nil, err
		}
		return a.made(r, isNew, "/resource_classes/"+name), nil
	}
	var in nameBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if err := a.placement.RenameResourceClass(r.Context(), name, in.Name); err != nil {
		return nil, err
	}
	return a.fresh(r, http.StatusOK, a.viewClass(in.Name)), nil
}

func (a *API) deleteClass(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if err := since(r, 2); err != nil {
		return nil, err
	}
	return nil, a.placement.DeleteResourceClass(r.Context(), r.PathValue("name"))
}
