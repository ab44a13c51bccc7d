package keystoneapi

import (
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/policy"
)

// nothing is the target of rules that look at the caller only.
func nothing[T any](T) policy.Target { return policy.Target{} }

func (a *API) regionView(o *keystone.Region) object {
	return object{
		"id": o.ID, "description": o.Description, "parent_region_id": orNil(o.ParentRegionID), "links": a.self("regions", o.ID),
	}.with(o.Extra)
}

func (a *API) listRegions(r *httpapi.Request) (any, error) {
	if err := r.Enforce(policy.Target{}); err != nil {
		return nil, err
	}
	f, err := filterOf(r)
	if err != nil {
		return nil, err
	}
	rows, err := a.keystone.Regions(r.Context(), f)
	return a.collection(r, "regions", views(rows, a.regionView)), err
}

func (a *API) createRegion(r *httpapi.Request) (any, error) {
	if err := r.Enforce(policy.Target{}); err != nil {
		return nil, err
	}
	in, err := readAttrs(r, "region")
	if err != nil {
		return nil, err
	}
	o := keystone.Region{
		ID: deref(in.orNull("id"), ""), ParentRegionID: deref(in.orNull("parent_region_id"), ""),
		Description: deref(in.orNull("description"), ""), Extra: in.extra(),
	}
	if in.err != nil {
		return nil, in.err
	}
	if id := r.PathValue("region_id"); id != "" {
		if o.ID != "" && o.ID != id {
			return nil, fault.New(fault.BadRequest, "conflicting region IDs specified: %q != %q", id, o.ID)
		}
		o.ID = id
	}
	if err := a.keystone.CreateRegion(r.Context(), &o); err != nil {
		return nil, err
	}
	return object{"region": a.regionView(&o)}, nil
}

func (a *API) loadRegion(r *httpapi.Request) (*keystone.Region, error) {
	return enforceOn(r, func() (*keystone.Region, error) {
		return a.keystone.Region(r.Context(), r.PathValue("region_id"))
	}, nothing)
}

func (a *API) showRegion(r *httpapi.Request) (any, error) {
	o, err := a.loadRegion(r)
	if err != nil {
		return nil, err
	}
	return object{"region": a.regionView(o)}, nil
}

func (a *API) updateRegion(r *httpapi.Request) (any, error) {
	o, err := a.loadRegion(r)
	if err != nil {
		return nil, err
	}
	in, err := readAttrs(r, "region")
	if err != nil {
		return nil, err
	}
	in.same("id", o.ID)
	up := keystone.RegionUpdate{ParentRegionID: in.orNull("parent_region_id"), Description: in.orNull("description"), Extra: in.extra()}
	if in.err != nil {
		return nil, in.err
	}
	if o, err = a.keystone.UpdateRegion(r.Context(), o.ID, up); err != nil {
		return nil, err
	}
	return object{"region": a.regionView(o)}, nil
}

func (a *API) deleteRegion(r *httpapi.Request) (any, error) {
	o, err := a.loadRegion(r)
	if err != nil {
		return nil, err
	}
	return nil, a.keystone.DeleteRegion(r.Context(), o.ID)
}

func (a *API) serviceView(o *keystone.CatalogService) object {
	v := object{"id": o.ID, "type": o.Type, "name": o.Name, "enabled": o.Enabled, "links": a.self("services", o.ID)}
	if o.Description != nil {
		v["description"] = *o.Description
	}
	return v.with(o.Extra)
}

func (a *API) listServices(r *httpapi.Request) (any, error) {
	if err := r.Enforce(policy.Target{}); err != nil {
		return nil, err
	}
	f, err := filterOf(r)
	if err != nil {
		return nil, err
	}
	rows, err := a.keystone.CatalogServices(r.Context(), f)
	return a.collection(r, "services", views(rows, a.serviceView)), err
}

func (a *API) createService(r *httpapi.Request) (any, error) {
	if err := r.Enforce(policy.Target{}); err != nil {
		return nil, err
	}
	in, err := readAttrs(r, "service")
	if err != nil {
		return nil, err
	}
	o := keystone.CatalogService{
		Type: in.required("type"), Name: deref(in.orNull("name"), ""), Description: in.orNull("description"),
		Enabled: deref(in.boolean("enabled"), true), Extra: in.extra(),
	}
	if in.err != nil {
		return nil, in.err
	}
	if err := a.keystone.CreateCatalogService(r.Context(), &o); err != nil {
		return nil, err
	}
	return object{"service": a.serviceView(&o)}, nil
}

func (a *API) loadService(r *httpapi.Request) (*keystone.CatalogService, error) {
	return enforceOn(r, func() (*keystone.CatalogService, error) {
		return a.keystone.CatalogService(r.Context(), r.PathValue("service_id"))
	}, nothing)
}

func (a *API) showService(r *httpapi.Request) (any, error) {
	o, err := a.loadService(r)
	if err != nil {
		return nil, err
	}
	return object{"service": a.serviceView(o)}, nil
}

func (a *API) updateService(r *httpapi.Request) (any, error) {
	o, err := a.loadService(r)
	if err != nil {
		return nil, err
	}
	in, err := readAttrs(r, "service")
	if err != nil {
		return nil, err
	}
	in.same("id", o.ID)
	up := keystone.CatalogServiceUpdate{
		Type: in.text("type"), Name: in.text("name"), Description: in.orNull("description"),
		Enabled: in.boolean("enabled"), Extra: in.extra(),
	}
	if in.err != nil {
		return nil, in.err
	}
	if o, err = a.keystone.UpdateCatalogService(r.Context(), o.ID, up); err != nil {
		return nil, err
	}
	return object{"service": a.serviceView(o)}, nil
}

func (a *API) deleteService(r *httpapi.Request) (any, error) {
	o, err := a.loadService(r)
	if err != nil {
		return nil, err
	}
	return nil, a.keystone.DeleteCatalogService(r.Context(), o.ID)
}

func (a *API) endpointView(o *keystone.Endpoint) object {
	return object{
		"id": o.ID, "service_id": o.ServiceID, "interface": o.Interface, "url": o.URL, "enabled": o.Enabled,
		"region": orNil(o.RegionID), "region_id": orNil(o.RegionID), "links": a.self("endpoints", o.ID),
	}.with(o.Extra)
}

func (a *API) listEndpoints(r *httpapi.Request) (any, error) {
	if err := r.Enforce(policy.Target{}); err != nil {
		return nil, err
	}
	f, err := filterOf(r)
	if err != nil {
		return nil, err
	}
	rows, err := a.keystone.Endpoints(r.Context(), f)
	return a.collection(r, "endpoints", views(rows, a.endpointView)), err
}

// endpointRegion reads region_id, or region as it was called once.
func endpointRegion(in *attrs) *string {
	id, old := in.orNull("region_id"), in.orNull("region")
	if id == nil {
		return old
	}
	return id
}

func (a *API) createEndpoint(r *httpapi.Request) (any, error) {
	if err := r.Enforce(policy.Target{}); err != nil {
		return nil, err
	}
	in, err := readAttrs(r, "endpoint")
	if err != nil {
		return nil, err
	}
	o := keystone.Endpoint{
		ServiceID: in.required("service_id"), Interface: in.required("interface"), URL: in.required("url"),
		RegionID: deref(endpointRegion(in), ""), Enabled: deref(in.boolean("enabled"), true), Extra: in.extra(),
	}
	if in.err != nil {
		return nil, in.err
	}
	if err := a.keystone.CreateEndpoint(r.Context(), &o); err != nil {
		return nil, err
	}
	return object{"endpoint": a.endpointView(&o)}, nil
}

func (a *API) loadEndpoint(r *httpapi.Request) (*keystone.Endpoint, error) {
	return enforceOn(r, func() (*keystone.Endpoint, error) {
		return a.keystone.Endpoint(r.Context(), r.PathValue("endpoint_id"))
	}, nothing)
}

func (a *API) showEndpoint(r *httpapi.Request) (any, error) {
	o, err := a.loadEndpoint(r)
	if err != nil {
		return nil, err
	}
	return object{"endpoint": a.endpointView(o)}, nil
}

func (a *API) updateEndpoint(r *httpapi.Request) (any, error) {
	o, err := a.loadEndpoint(r)
	if err != nil {
		return nil, err
	}
	in, err := readAttrs(r, "endpoint")
	if err != nil {
		return nil, err
	}
	in.same("id", o.ID)
	up := keystone.EndpointUpdate{
		ServiceID: in.text("service_id"), Interface: in.text("interface"), URL: in.text("url"),
		RegionID: endpointRegion(in), Enabled: in.boolean("enabled"), Extra: in.extra(),
	}
	if in.err != nil {
		return nil, in.err
	}
	if o, err = a.keystone.UpdateEndpoint(r.Context(), o.ID, up); err != nil {
		return nil, err
	}
	return object{"endpoint": a.endpointView(o)}, nil
}

func (a *API) deleteEndpoint(r *httpapi.Request) (any, error) {
	o, err := a.loadEndpoint(r)
	if err != nil {
		return nil, err
	}
	return nil, a.keystone.DeleteEndpoint(r.Context(), o.ID)
}
