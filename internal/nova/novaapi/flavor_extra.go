package novaapi

import (
	"encoding/json"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/nova"
)

func (a *API) listExtraSpecs(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	f, err := a.flavor(r)
	if err != nil {
		return nil, err
	}
	return viewSpecs(f), nil
}

func viewSpecs(f *nova.Flavor) map[string]any {
	specs := f.ExtraSpecs
	if specs == nil {
		specs = map[string]string{}
	}
	return map[string]any{"extra_specs": specs}
}

func (a *API) createExtraSpecs(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in struct {
		Specs map[string]text `json:"extra_specs"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Specs == nil {
		return nil, fault.New(fault.BadRequest, "'extra_specs' is a required property")
	}
	specs := map[string]string{}
	for k, v := range in.Specs {
		specs[k] = string(v)
	}
	if _, err := a.nova.SetExtraSpecs(r.Context(), r.PathValue("flavor_id"), specs); err != nil {
		return nil, err
	}
	return map[string]any{"extra_specs": specs}, nil
}

func (a *API) showExtraSpec(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	f, err := a.flavor(r)
	if err != nil {
		return nil, err
	}
	key := r.PathValue("key")
	v, ok := f.ExtraSpecs[key]
	if !ok {
		return nil, fault.New(fault.NotFound, "Flavor %s has no extra specs with key %.255s.", f.ID, key)
	}
	return map[string]string{key: v}, nil
}

func (a *API) updateExtraSpec(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in map[string]text
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	key := r.PathValue("key")
	v, ok := in[key]
	if !ok || len(in) != 1 {
		return nil, fault.New(fault.BadRequest, "Request body and URI mismatch")
	}
	if _, err := a.nova.SetExtraSpecs(r.Context(), r.PathValue("flavor_id"), map[string]string{key: string(v)}); err != nil {
		return nil, err
	}
	return map[string]string{key: string(v)}, nil
}

func (a *API) deleteExtraSpec(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	return nil, a.nova.DeleteExtraSpec(r.Context(), r.PathValue("flavor_id"), r.PathValue("key"))
}

func (a *API) listFlavorAccess(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	f, err := a.flavor(r)
	if err != nil {
		return nil, err
	}
	if f.IsPublic {
		return nil, fault.New(fault.NotFound, "Access list not available for public flavors.")
	}
	return a.viewAccess(r, f)
}

func (a *API) viewAccess(r *httpapi.Request, f *nova.Flavor) (any, error) {
	projects, err := a.nova.FlavorAccess(r.Context(), f.ID)
	if err != nil {
		return nil, err
	}
	list := []map[string]string{}
	for _, p := range projects {
		// Who else may use a flavor is not for its users to know.
		if r.Identity().IsAdmin() || p == r.Identity().ProjectID {
			list = append(list, map[string]string{"flavor_id": f.ID, "tenant_id": p})
		}
	}
	return map[string]any{"flavor_access": list}, nil
}

func (a *API) flavorAction(r *httpapi.Request) (any, error) {
	var body map[string]json.RawMessage
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	rules := map[string]string{"addTenantAccess": "os-flavor-access:add_tenant_access", "removeTenantAccess": "os-flavor-access:remove_tenant_access"}
	for name, raw := range body {
		rule, ok := rules[name]
		if !ok || len(body) != 1 {
			break
		}
		if err := r.EnforceRule(pre+rule, nil); err != nil {
			return nil, err
		}
		var in struct {
			Tenant string `json:"tenant"`
		}
		if err := decodeAction(raw, &in); err != nil {
			return nil, err
		}
		if in.Tenant == "" || len(in.Tenant) > 64 {
			return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute tenant. Value: %.70s", in.Tenant)
		}
		f, err := a.flavor(r)
		if err != nil {
			return nil, err
		}
		if name == "addTenantAccess" {
			if f.IsPublic && r.Version().AtLeast(2, 7) {
				return nil, fault.New(fault.Conflict, "Can not add access to a public flavor.")
			}
			err = a.nova.AddFlavorAccess(r.Context(), f.ID, in.Tenant)
		} else {
			err = a.nova.RemoveFlavorAccess(r.Context(), f.ID, in.Tenant)
		}
		if err != nil {
			return nil, err
		}
		return a.viewAccess(r, f)
	}
	return nil, fault.New(fault.BadRequest, "There is no such action")
}
