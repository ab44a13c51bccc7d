package placement

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/hastack/hastack/internal/fault"
)

// A Query says what providers have to offer.
type Query struct {
	// Resources are amounts by class; empty for lists of providers.
	Resources map[string]int64
	Traits    TraitQuery
	// RootTraits apply to the root of the tree (root_required).
	RootTraits TraitQuery
	// MemberOf are sets of aggregates: of each set at least one.
	MemberOf [][]string
	// NotMemberOf are aggregates that the provider must not be in.
	NotMemberOf []string
	// InTree is a provider whose tree is searched; empty for all.
	InTree string
	// Limit is how many candidates are wanted; 0 for as many as are served.
	Limit int
	// Groups are granular request groups, each served by one provider.
	Groups []Group
	// Isolate wants another provider for each group that asks for resources.
	Isolate bool
	// SameSubtree are sets of suffixes of groups whose providers must be one
	// of them and others below it.
	SameSubtree [][]string
	// Nested includes combinations of several providers of a tree, which
	// clients before 1.29 do not understand.
	Nested bool
}

// A Group is a granular request group: a part of a query that one provider
// serves. Without resources it only names a provider, for SameSubtree.
type Group struct {
	Suffix string
	Query  // its resources, traits, aggregates and tree
}

// A TraitQuery names traits.
type TraitQuery struct {
	AllOf [][]string // of each set at least one
	None  []string   // forbidden
}

func (q *TraitQuery) empty() bool { return len(q.AllOf) == 0 && len(q.None) == 0 }

// ok tells whether traits, of one provider or of several together, satisfy q.
func (q *TraitQuery) ok(has func(trait string) bool) bool {
	for _, set := range q.AllOf {
		if !slices.ContainsFunc(set, has) {
			return false
		}
	}
	return !slices.ContainsFunc(q.None, has)
}

// A Candidate is one way to serve a query: amounts by provider.
type Candidate struct {
	// One is set if a single provider serves everything; then Parts is nil.
	One   *Provider
	Parts []Part
	// Groups are the providers by suffix of the group they serve, with "" for
	// the rest of the query; nil for a query without groups.
	Groups map[string][]*Provider
}

// A Part is what one provider gives.
type Part struct {
	Provider  *Provider
	Resources map[string]int64
}

// Candidates are the answer to a query: who can serve it, and everything known
// of the trees they belong to.
type Candidates struct {
	List      []Candidate
	Providers []*Provider

	steps int // combinations looked at
}

// maxSteps bounds the combinations of one request: their number grows with the
// power of its groups.
const maxSteps = 200_000

// done tells whether there is enough, or enough was tried.
func (c *Candidates) done(limit int) bool {
	c.steps++
	return len(c.List) >= limit || c.steps > maxSteps
}

// Candidates finds providers with room. They are a proposal: only a claim
// knows. With a limit the search starts at a place that changes from one
// request to the next, so that schedulers do not all try the same hosts.
func (s *Service) Candidates(ctx context.Context, q *Query) (*Candidates, error) {
	if err := s.knownNames(ctx, q); err != nil {
		return nil, err
	}
	want := wanted(q.Resources)
	limit := s.cfg.MaxCandidates
	if q.Limit > 0 {
		limit = min(limit, q.Limit)
	}
	out := &Candidates{}
	err := s.read(ctx, func(v *snapshot) error {
		if q.InTree != "" {
			if i, ok := v.treeOf(q.InTree); ok {
				v.searchTree(v.trees[i], q, want, out, limit)
			}
			return nil
		}
		n := len(v.trees)
		start := 0
		if n > limit {
			start = rand.N(n)
		}
		for i := 0; i < n && len(out.List) < limit && out.steps <= maxSteps; i++ {
			v.searchTree(v.trees[(start+i)%n], q, want, out, limit)
		}
		return nil
	})
	return out, err
}

func (v *snapshot) treeOf(uuid string) (int, bool) {
	p := v.providers[uuid]
	if p == nil {
		return 0, false
	}
	i, ok := v.byRoot[p.RootUUID]
	return i, ok
}

// knownNames refuses names that cannot match anything.
func (s *Service) knownNames(ctx context.Context, q *Query) error {
	for i := range q.Groups {
		if err := s.knownNames(ctx, &q.Groups[i].Query); err != nil {
			return err
		}
	}
	for _, class := range sortedKeys(q.Resources) {
		if !IsStandardClass(class) {
			if err := classOr(ctx, s.db, class, fault.New(fault.BadRequest, "invalid resource class in resources parameter: %.80s", class)); err != nil {
				return err
			}
		}
	}
	var traits []string
	for _, t := range []*TraitQuery{&q.Traits, &q.RootTraits} {
		traits = append(traits, slices.Concat(t.AllOf...)...)
		traits = append(traits, t.None...)
	}
	unknown, err := unknownTraits(ctx, s.db, traits)
	if err == nil && len(unknown) > 0 {
		err = fault.New(fault.BadRequest, "no such trait(s): %.200s", unknown[0]).WithCode(CodeBadValue)
	}
	return err
}

// searchTree adds the candidates of one tree.
func (v *snapshot) searchTree(t *tree, q *Query, want []amount, out *Candidates, limit int) {
	if !q.RootTraits.empty() && !q.RootTraits.ok(t.root.HasTrait) {
		return
	}
	if len(q.Groups) > 0 {
		v.combineGroups(t, q, out, limit)
		return
	}
	if len(t.members) == 1 && len(v.sharing) == 0 { // a host without devices
		p := t.root
		if fits(p, want) && q.Traits.ok(p.HasTrait) && member(p, t.root, q) {
			out.List = append(out.List, Candidate{One: p})
			out.Providers = append(out.Providers, p)
		}
		return
	}
	v.combine(t, q, out, limit)
}

// An amount is what is wanted of a class. Lists of them are in the order of
// their classes, as a provider's inventories are.
type amount struct {
	class string
	n     int64
}

func wanted(resources map[string]int64) []amount {
	list := make([]amount, 0, len(resources))
	for _, class := range sortedKeys(resources) {
		list = append(list, amount{class, resources[class]})
	}
	return list
}

// fits tells whether p alone has room for everything. It is asked for each of
// ten thousand hosts, so it walks both lists once.
func fits(p *Provider, want []amount) bool {
	i := 0
	for _, w := range want {
		for i < len(p.Inventories) && p.Inventories[i].Class != w.class {
			i++
		}
		if i == len(p.Inventories) || !p.Inventories[i].Fits(w.n) {
			return false
		}
	}
	return true
}

// member applies the aggregates of a query. A provider is where its root is.
func member(p, root *Provider, q *Query) bool {
	in := func(agg string) bool { return p.InAggregate(agg) || root.InAggregate(agg) }
	for _, set := range q.MemberOf {
		if !slices.ContainsFunc(set, in) {
			return false
		}
	}
	return !slices.ContainsFunc(q.NotMemberOf, in)
}

// A ListFilter selects providers; zero fields select all.
type ListFilter struct {
	UUID, Name string
	Query
}

// Providers lists providers by uuid. Resources of the filter must be there in
// one provider.
func (s *Service) Providers(ctx context.Context, f *ListFilter) ([]*Provider, error) {
	if err := s.knownNames(ctx, &f.Query); err != nil {
		return nil, err
	}
	var list []*Provider
	want := wanted(f.Resources)
	err := s.read(ctx, func(v *snapshot) error {
		if f.UUID != "" { // the lookup by uuid does not walk
			if p := v.providers[f.UUID]; p != nil && v.listed(p, f, want) {
				list = append(list, p)
			}
			return nil
		}
		for _, p := range v.providers {
			if v.listed(p, f, want) {
				list = append(list, p)
			}
		}
		return nil
	})
	slices.SortFunc(list, func(a, b *Provider) int {
		if a.UUID < b.UUID {
			return -1
		}
		return 1
	})
	return list, err
}

func (v *snapshot) listed(p *Provider, f *ListFilter, want []amount) bool {
	if f.Name != "" && p.Name != f.Name {
		return false
	}
	if f.InTree != "" {
		if q := v.providers[f.InTree]; q == nil || q.RootUUID != p.RootUUID {
			return false
		}
	}
	return fits(p, want) && f.Traits.ok(p.HasTrait) && member(p, p, &f.Query)
}
