package novaapi

import (
	"encoding/json"
	"net/http"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/nova"
)

func (a *API) addFlavorRoutes() {
	a.get("/flavors", httpapi.AnyToken, a.listFlavors)
	a.get("/flavors/detail", httpapi.AnyToken, a.listFlavorsDetail)
	a.post("/flavors", pre+"os-flavor-manage:create", http.StatusOK, a.createFlavor)
	a.get("/flavors/{flavor_id}", httpapi.AnyToken, a.showFlavor)
	a.put("/flavors/{flavor_id}", pre+"os-flavor-manage:update", since(55, a.updateFlavor))
	a.del("/flavors/{flavor_id}", pre+"os-flavor-manage:delete", http.StatusAccepted, a.deleteFlavor)
	const specs = "/flavors/{flavor_id}/os-extra_specs"
	a.get(specs, pre+"os-flavor-extra-specs:index", a.listExtraSpecs)
	a.post(specs, pre+"os-flavor-extra-specs:create", http.StatusOK, a.createExtraSpecs)
	a.get(specs+"/{key}", pre+"os-flavor-extra-specs:show", a.showExtraSpec)
	a.put(specs+"/{key}", pre+"os-flavor-extra-specs:update", a.updateExtraSpec)
	a.del(specs+"/{key}", pre+"os-flavor-extra-specs:delete", http.StatusOK, a.deleteExtraSpec)
	a.get("/flavors/{flavor_id}/os-flavor-access", pre+"os-flavor-access", a.listFlavorAccess)
	a.post("/flavors/{flavor_id}/action", httpapi.AnyToken, http.StatusOK, a.flavorAction)
}

// flavorView is a flavor at every microversion; fields that one does not have
// are left out.
type flavorView struct {
	ID          string             `json:"id"`
	Name        string             `json:"name"`
	RAM         *int               `json:"ram,omitempty"`
	Disk        *int               `json:"disk,omitempty"`
	Swap        any                `json:"swap,omitempty"`
	Ephemeral   *int               `json:"OS-FLV-EXT-DATA:ephemeral,omitempty"`
	Disabled    *bool              `json:"OS-FLV-DISABLED:disabled,omitempty"`
	VCPUs       *int               `json:"vcpus,omitempty"`
	IsPublic    *bool              `json:"os-flavor-access:is_public,omitempty"`
	RXTXFactor  *float64           `json:"rxtx_factor,omitempty"`
	Links       []link             `json:"links"`
	Description *json.RawMessage   `json:"description,omitempty"`
	ExtraSpecs  *map[string]string `json:"extra_specs,omitempty"`
}

func (a *API) viewFlavor(f *nova.Flavor, r *httpapi.Request, detail bool) flavorView {
	v := flavorView{ID: f.ID, Name: f.Name, Links: a.links("/flavors/" + f.ID)}
	ver := r.Version()
	if ver.AtLeast(2, 55) {
		b, err := json.Marshal(orNil(f.Description))
		if err == nil {
			v.Description = (*json.RawMessage)(&b)
		}
	}
	if !detail {
		return v
	}
	v.RAM, v.Disk, v.Ephemeral, v.VCPUs = &f.MemoryMB, &f.RootGB, &f.EphemeralGB, &f.VCPUs
	v.Disabled, v.IsPublic, v.RXTXFactor = &f.Disabled, &f.IsPublic, &f.RXTXFactor
	// Swap 0 was "" before 2.75.
	v.Swap = f.SwapMB
	if f.SwapMB == 0 && ver.Before(2, 75) {
		v.Swap = ""
	}
	if ver.AtLeast(2, 61) && r.Allowed(pre+"os-flavor-extra-specs:index", nil) {
		specs := f.ExtraSpecs
		if specs == nil {
			specs = map[string]string{}
		}
		v.ExtraSpecs = &specs
	}
	return v
}

func (a *API) listFlavors(r *httpapi.Request) (any, error) { return a.flavorList(r, "/flavors", false) }

func (a *API) listFlavorsDetail(r *httpapi.Request) (any, error) {
	return a.flavorList(r, "/flavors/detail", true)
}

func (a *API) flavorList(r *httpapi.Request, path string, detail bool) (any, error) {
	keys := []string{"created_at", "description", "disabled", "ephemeral_gb", "flavorid", "id", "is_public", "memory_mb", "name",
		"root_gb", "rxtx_factor", "swap", "updated_at", "vcpu_weight", "vcpus"}
	page, err := r.Page(httpapi.PageConfig{DefaultLimit: maxLimit, MaxLimit: maxLimit, SortKeys: keys, Default: []httpapi.Sort{{Key: "flavorid"}}})
	if err != nil {
		return nil, err
	}
	id := r.Identity()
	f := nova.FlavorFilter{ProjectID: id.ProjectID, Limit: page.Limit + 1, Marker: page.Marker, SortKey: page.Sort[0].Key, Desc: page.Sort[0].Desc}
	q := r.URL.Query()
	for name, into := range map[string]*int{"minDisk": &f.MinDisk, "minRam": &f.MinRAM} {
		if v := q.Get(name); v != "" {
			n, err := atoi(v)
			if err != nil {
				return nil, fault.New(fault.BadRequest, "Invalid %s filter [%.40s]", name, v)
			}
			*into = n
		}
	}
	if id.IsAdmin() {
		// Administrators see the public ones unless they ask; "none" is all.
		switch v := q.Get("is_public"); v {
		case "", "None", "none":
			f.All = q.Has("is_public")
			if !f.All {
				public := true
				f.IsPublic = &public
			}
		default:
			public, err := queryBool(v, true)
			if err != nil {
				return nil, err
			}
			f.IsPublic = &public
		}
	}
	list, err := a.nova.Flavors(r.Context(), f)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	if len(list) > page.Limit {
		list = list[:page.Limit]
		if page.Limit > 0 {
			out["flavors_links"] = []link{{r.NextLink("/v2.1"+path, list[page.Limit-1].ID), "next"}}
		}
	}
	views := make([]flavorView, len(list))
	for i := range list {
		views[i] = a.viewFlavor(&list[i], r, detail)
	}
	out["flavors"] = views
	return out, nil
}

// flavor loads the flavor of the path that the caller may see.
func (a *API) flavor(r *httpapi.Request) (*nova.Flavor, error) {
	return a.nova.Flavor(r.Context(), r.PathValue("flavor_id"), r.Identity().ProjectID, r.Identity().IsAdmin())
}

func (a *API) showFlavor(r *httpapi.Request) (any, error) {
	f, err := a.flavor(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"flavor": a.viewFlavor(f, r, true)}, nil
}

type flavorBody struct {
	Flavor *struct {
		ID          *text        `json:"id"`
		Name        string       `json:"name"`
		RAM         *number      `json:"ram"`
		VCPUs       *number      `json:"vcpus"`
		Disk        *number      `json:"disk"`
		Ephemeral   number       `json:"OS-FLV-EXT-DATA:ephemeral"`
		Swap        number       `json:"swap"`
		RXTXFactor  *json.Number `json:"rxtx_factor"`
		IsPublic    *looseBool   `json:"os-flavor-access:is_public"`
		Description *string      `json:"description"`
	} `json:"flavor"`
}

func (a *API) createFlavor(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in flavorBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	v := in.Flavor
	if v == nil || v.RAM == nil || v.VCPUs == nil || v.Disk == nil {
		return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute flavor: name, ram, vcpus and disk are required")
	}
	f := nova.Flavor{Name: v.Name, MemoryMB: int(*v.RAM), VCPUs: int(*v.VCPUs), RootGB: int(*v.Disk), EphemeralGB: int(v.Ephemeral),
		SwapMB: int(v.Swap), RXTXFactor: 1, IsPublic: true}
	if v.ID != nil {
		f.ID = string(*v.ID)
	}
	if v.IsPublic != nil {
		f.IsPublic = bool(*v.IsPublic)
	}
	if v.RXTXFactor != nil {
		x, err := v.RXTXFactor.Float64()
		if err != nil {
			return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute rxtx_factor")
		}
		f.RXTXFactor = x
	}
	if v.Description != nil {
		if r.Version().Before(2, 55) {
			return nil, unexpected("description")
		}
		f.Description = *v.Description
	}
	if err := a.nova.CreateFlavor(r.Context(), &f); err != nil {
		return nil, err
	}
	return map[string]any{"flavor": a.viewFlavor(&f, r, true)}, nil
}

func (a *API) updateFlavor(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in struct {
		Flavor struct {
			Description httpapi.Nullable[string] `json:"description"`
		} `json:"flavor"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if !in.Flavor.Description.Set || len(in.Flavor.Description.Value) > 65535 {
		return nil, fault.New(fault.BadRequest, "'description' is a required property of at most 65535 characters")
	}
	f, err := a.nova.UpdateFlavorDescription(r.Context(), r.PathValue("flavor_id"), in.Flavor.Description.Value)
	if err != nil {
		return nil, err
	}
	return map[string]any{"flavor": a.viewFlavor(f, r, true)}, nil
}

func (a *API) deleteFlavor(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	return nil, a.nova.DeleteFlavor(r.Context(), r.PathValue("flavor_id"))
}
