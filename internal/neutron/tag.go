package neutron

import (
	"context"
	"slices"

	"github.com/uptrace/bun"
)

// TaggedKinds are the kinds of resources that have tags.
func TaggedKinds() []Kind {
	return []Kind{Networks, Subnets, Ports, Routers, FloatingIPs, SecurityGroups, SecurityGroupRules}
}

// TagName is the kind's name in the rules for its tags.
func (k Kind) TagName() string { return k.table() }

// Owner returns the project of a resource that the caller may see, and its
// tags.
func (s *Service) Owner(ctx context.Context, c Caller, kind Kind, id string) (projectID string, tags Lines, err error) {
	std, err := s.standard(ctx, s.db, c, kind, id)
	if err != nil {
		return "", nil, err
	}
	return std.ProjectID, std.Tags, nil
}

// standard reads what all kinds have in common.
func (s *Service) standard(ctx context.Context, idb bun.IDB, c Caller, kind Kind, id string) (*Standard, error) {
	switch kind {
	case Networks:
		n, err := s.network(ctx, idb, c, id)
		if err != nil {
			return nil, err
		}
		return &n.Standard, nil
	case Subnets:
		n, err := s.subnet(ctx, idb, c, id)
		if err != nil {
			return nil, err
		}
		return &n.Standard, nil
	case Ports:
		p, err := s.port(ctx, idb, c, id)
		if err != nil {
			return nil, err
		}
		return &p.Standard, nil
	case Routers:
		r, err := s.router(ctx, idb, c, id)
		if err != nil {
			return nil, err
		}
		return &r.Standard, nil
	case FloatingIPs:
		f, err := s.floatingIP(ctx, idb, c, id)
		if err != nil {
			return nil, err
		}
		return &f.Standard, nil
	case SecurityGroups:
		g, err := s.securityGroup(ctx, idb, c, id)
		if err != nil {
			return nil, err
		}
		return &g.Standard, nil
	case SecurityGroupRules:
		r, err := s.securityGroupRule(ctx, idb, c, id)
		if err != nil {
			return nil, err
		}
		return &r.Standard, nil
	}
	return nil, notFound("TagResourceNotFound", "Resource %s %s could not be found.", kind, id)
}

// ChangeTags applies fn to the tags of a resource and returns what they are
// then.
func (s *Service) ChangeTags(ctx context.Context, c Caller, kind Kind, id string, fn func(tags Lines) (Lines, error)) (Lines, error) {
	var out Lines
	err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		std, err := s.standard(ctx, tx, c, kind, id)
		if err != nil {
			return err
		}
		tags, err := fn(std.Tags)
		if err != nil {
			return err
		}
		if err := CheckTags(tags); err != nil {
			return err
		}
		tags = sortedSet(tags)
		out = tags
		if slices.Equal(tags, std.Tags) {
			return nil
		}
		return s.casTags(ctx, tx, kind, std, tags)
	})
	return out, err
}

// TagNotFound is the answer to a tag that a resource does not have.
func TagNotFound(tag string) error { return notFound("TagNotFound", "Tag %s could not be found.", tag) }
