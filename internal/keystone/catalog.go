package keystone

import (
	"context"
	"net/url"
	"regexp"
	"strings"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// A Region is a place that endpoints are in.
type Region struct {
	ID             string `bun:"id,pk"`
	ParentRegionID string `bun:",nullzero"`
	Description    string
	Extra          Extra
}

// A CatalogService is a service that clients can find.
type CatalogService struct {
	ID          string `bun:"id,pk"`
	Type        string
	Name        string
	Description *string
	Enabled     bool
	Extra       Extra
	Endpoints   []Endpoint `bun:"-"` // the enabled ones, in the catalog only
}

// An Endpoint is where a service answers. In its URL, $(project_id)s and a few
// others (see endpointWords) stand for what a token says.
type Endpoint struct {
	ID        string `bun:"id,pk"`
	ServiceID string
	RegionID  string `bun:",nullzero"`
	Interface string // public, internal or admin
	URL       string `bun:"url"`
	Enabled   bool
	Extra     Extra
}

// endpointWords are what an endpoint URL may have substituted.
var endpointWords = []string{"project_id", "tenant_id", "user_id"}

var substitution = regexp.MustCompile(`[$%]\(([a-z_]+)\)s`)

// expandURL fills in an endpoint's URL; false if the token lacks a value, in
// which case the endpoint is left out of its catalog.
func expandURL(tmpl, projectID, userID string) (string, bool) {
	if !strings.Contains(tmpl, "(") {
		return tmpl, true
	}
	ok := true
	out := substitution.ReplaceAllStringFunc(tmpl, func(m string) string {
		value := projectID
		if m[2:len(m)-2] == "user_id" {
			value = userID
		}
		ok = ok && value != ""
		return value
	})
	return out, ok
}

func checkEndpoint(e *Endpoint) error {
	switch e.Interface {
	case "public", "internal", "admin":
	default:
		return fault.New(fault.BadRequest, "endpoint interface %q is not public, internal or admin", e.Interface)
	}
	u, err := url.Parse(substitution.ReplaceAllString(e.URL, "x"))
	if err != nil || u.Scheme == "" || u.Host == "" {
		return fault.New(fault.BadRequest, "endpoint url %q is not an absolute URL", e.URL)
	}
	for _, m := range substitution.FindAllStringSubmatch(e.URL, -1) {
		known := false
		for _, w := range endpointWords {
			known = known || w == m[1]
		}
		if !known {
			return fault.New(fault.BadRequest, "endpoint url has %s, which is not one of %v", m[0], endpointWords)
		}
	}
	return nil
}

// CreateRegion adds r; an empty id is made up.
func (s *Service) CreateRegion(ctx context.Context, r *Region) error {
	if r.ID == "" {
		r.ID = ids.Hex()
	}
	if len(r.ID) > 255 {
		return fault.New(fault.BadRequest, "region id must have at most 255 characters")
	}
	return s.insertRegion(ctx, r)
}

// Region finds a region by id.
func (s *Service) Region(ctx context.Context, id string) (*Region, error) {
	return s.selectRegion(ctx, id)
}

// Regions lists regions; they can be filtered by parent_region_id.
func (s *Service) Regions(ctx context.Context, f Filter) ([]Region, error) {
	return s.selectRegions(ctx, f)
}

// A RegionUpdate holds what is to change; nil keeps, "" as parent removes it.
type RegionUpdate struct {
	ParentRegionID, Description *string
	Extra                       Extra
}

// UpdateRegion changes a region.
func (s *Service) UpdateRegion(ctx context.Context, id string, up RegionUpdate) (*Region, error) {
	r, err := s.selectRegion(ctx, id)
	if err != nil {
		return nil, err
	}
	var cols []string
	if up.ParentRegionID != nil {
		r.ParentRegionID, cols = *up.ParentRegionID, append(cols, "parent_region_id")
	}
	if up.Description != nil {
		r.Description, cols = *up.Description, append(cols, "description")
	}
	if r.Extra.merge(up.Extra) {
		cols = append(cols, "extra")
	}
	return r, s.updateRegion(ctx, r, cols)
}

// DeleteRegion removes a region that has no endpoints and no regions below.
func (s *Service) DeleteRegion(ctx context.Context, id string) error { return s.deleteRegion(ctx, id) }

// CreateCatalogService adds c.
func (s *Service) CreateCatalogService(ctx context.Context, c *CatalogService) error {
	if strings.TrimSpace(c.Type) == "" || len(c.Type) > 255 || len(c.Name) > 255 {
		return fault.New(fault.BadRequest, "service type must have 1 to 255 characters and its name at most 255")
	}
	c.ID = ids.Hex()
	return s.insertCatalogService(ctx, c)
}

// CatalogService finds a service by id.
func (s *Service) CatalogService(ctx context.Context, id string) (*CatalogService, error) {
	return s.selectCatalogService(ctx, id)
}

// CatalogServices lists services; they can be filtered by name and type.
func (s *Service) CatalogServices(ctx context.Context, f Filter) ([]CatalogService, error) {
	return s.selectCatalogServices(ctx, f)
}

// A CatalogServiceUpdate holds what is to change; nil keeps.
type CatalogServiceUpdate struct {
	Type, Name, Description *string
	Enabled                 *bool
	Extra                   Extra
}

// UpdateCatalogService changes a service.
func (s *Service) UpdateCatalogService(ctx context.Context, id string, up CatalogServiceUpdate) (*CatalogService, error) {
	c, err := s.selectCatalogService(ctx, id)
	if err != nil {
		return nil, err
	}
	var cols []string
	if up.Type != nil {
		if strings.TrimSpace(*up.Type) == "" {
			return nil, fault.New(fault.BadRequest, "service type must not be empty")
		}
		c.Type, cols = *up.Type, append(cols, "type")
	}
	if up.Name != nil {
		c.Name, cols = *up.Name, append(cols, "name")
	}
	if up.Description != nil {
		c.Description, cols = up.Description, append(cols, "description")
	}
	if up.Enabled != nil {
		c.Enabled, cols = *up.Enabled, append(cols, "enabled")
	}
	if c.Extra.merge(up.Extra) {
		cols = append(cols, "extra")
	}
	return c, s.updateCatalogService(ctx, c, cols)
}

// DeleteCatalogService removes a service with its endpoints.
func (s *Service) DeleteCatalogService(ctx context.Context, id string) error {
	return s.deleteCatalogService(ctx, id)
}

// CreateEndpoint adds e.
func (s *Service) CreateEndpoint(ctx context.Context, e *Endpoint) error {
	if err := checkEndpoint(e); err != nil {
		return err
	}
	e.ID = ids.Hex()
	return s.insertEndpoint(ctx, e)
}

// Endpoint finds an endpoint by id.
func (s *Service) Endpoint(ctx context.Context, id string) (*Endpoint, error) {
	return s.selectEndpoint(ctx, id)
}

// Endpoints lists endpoints; they can be filtered by service_id, region_id,
// interface and enabled.
func (s *Service) Endpoints(ctx context.Context, f Filter) ([]Endpoint, error) {
	return s.selectEndpoints(ctx, f)
}

// An EndpointUpdate holds what is to change; nil keeps, "" as region removes it.
type EndpointUpdate struct {
	ServiceID, RegionID, Interface, URL *string
	Enabled                             *bool
	Extra                               Extra
}

// UpdateEndpoint changes an endpoint.
func (s *Service) UpdateEndpoint(ctx context.Context, id string, up EndpointUpdate) (*Endpoint, error) {
	e, err := s.selectEndpoint(ctx, id)
	if err != nil {
		return nil, err
	}
	var cols []string
	for _, f := range []struct {
		column   string
		to, from *string
	}{{"service_id", &e.ServiceID, up.ServiceID}, {"region_id", &e.RegionID, up.RegionID}, {"interface", &e.Interface, up.Interface}, {"url", &e.URL, up.URL}} {
		if f.from != nil {
			*f.to, cols = *f.from, append(cols, f.column)
		}
	}
	if up.Enabled != nil {
		e.Enabled, cols = *up.Enabled, append(cols, "enabled")
	}
	if e.Extra.merge(up.Extra) {
		cols = append(cols, "extra")
	}
	if err := checkEndpoint(e); err != nil {
		return nil, err
	}
	return e, s.updateEndpoint(ctx, e, cols)
}

// DeleteEndpoint removes an endpoint.
func (s *Service) DeleteEndpoint(ctx context.Context, id string) error {
	return s.deleteEndpoint(ctx, id)
}
