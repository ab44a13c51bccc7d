package keystone

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// A Domain owns users, groups and projects.
type Domain struct {
	ID          string `bun:"id,pk"`
	Name        string
	Description string
	Enabled     bool
	Extra       Extra
	CreatedAt   time.Time
}

// A DomainUpdate holds what is to change; nil keeps.
type DomainUpdate struct {
	Name, Description *string
	Enabled           *bool
	Extra             Extra
}

// checkName refuses names that are empty, blank or longer than the column.
func checkName(what, name string, longest int) error {
	switch {
	case strings.TrimSpace(name) == "":
		return fault.New(fault.BadRequest, "%s name must not be empty", what)
	case utf8.RuneCountInString(name) > longest:
		return fault.New(fault.BadRequest, "%s name must have at most %d characters", what, longest)
	}
	return nil
}

// CreateDomain adds d; an empty id is made up.
func (s *Service) CreateDomain(ctx context.Context, d *Domain) error {
	if err := checkName("domain", d.Name, 64); err != nil {
		return err
	}
	if d.ID == "" {
		d.ID = ids.Hex()
	}
	d.CreatedAt = s.clock.Now()
	return s.insertDomain(ctx, d)
}

// Domain finds a domain by id.
func (s *Service) Domain(ctx context.Context, id string) (*Domain, error) {
	return s.selectDomain(ctx, id)
}

// Domains lists domains; they can be filtered by name and enabled.
func (s *Service) Domains(ctx context.Context, f Filter) ([]Domain, error) {
	return s.selectDomains(ctx, f)
}

// UpdateDomain changes a domain. Disabling it ends the tokens of its users and
// those scoped to it or to its projects.
func (s *Service) UpdateDomain(ctx context.Context, id string, up DomainUpdate) (*Domain, error) {
	d, err := s.selectDomain(ctx, id)
	if err != nil {
		return nil, err
	}
	var cols []string
	if up.Name != nil {
		if err := checkName("domain", *up.Name, 64); err != nil {
			return nil, err
		}
		d.Name, cols = *up.Name, append(cols, "name")
	}
	if up.Description != nil {
		d.Description, cols = *up.Description, append(cols, "description")
	}
	if up.Enabled != nil {
		d.Enabled, cols = *up.Enabled, append(cols, "enabled")
	}
	if d.Extra.merge(up.Extra) {
		cols = append(cols, "extra")
	}
	return d, s.updateDomain(ctx, d, cols)
}

// DeleteDomain removes a disabled domain with everything in it.
func (s *Service) DeleteDomain(ctx context.Context, id string) error {
	d, err := s.selectDomain(ctx, id)
	if err != nil {
		return err
	}
	if id == DefaultDomain {
		return fault.New(fault.Forbidden, "the default domain cannot be deleted")
	}
	if d.Enabled {
		return fault.New(fault.Forbidden, "cannot delete a domain that is enabled, please disable it first")
	}
	return s.deleteDomain(ctx, id)
}
