package placement

import "slices"

// combineGroups adds the candidates of a tree for a query with granular
// groups: a way to serve the rest of the query, and one provider for each
// group, in all combinations that the tree has room for.
func (v *snapshot) combineGroups(t *tree, q *Query, out *Candidates, limit int) {
	options := make([][]*Provider, len(q.Groups))
	for i := range q.Groups {
		if options[i] = v.serving(t, &q.Groups[i].Query); len(options[i]) == 0 {
			return
		}
	}
	rest := Candidates{List: []Candidate{{}}, steps: out.steps}
	if len(q.Resources) > 0 {
		rest.List = nil
		plain := *q
		plain.Groups, plain.RootTraits = nil, TraitQuery{}
		v.combine(t, &plain, &rest, limit)
		out.steps = rest.steps
	}
	before := len(out.List)
	g := &grouping{t: t, q: q, options: options, picked: make([]*Provider, len(q.Groups)), out: out, limit: limit}
	for _, c := range rest.List {
		g.rest = c.Parts
		g.pick(0)
	}
	out.summarise(t, before)
}

// serving are the providers of a tree, or sharing with it, that could serve a
// group alone. Its traits have to be the provider's own.
func (v *snapshot) serving(t *tree, q *Query) []*Provider {
	want := wanted(q.Resources)
	var list []*Provider
	for i, p := range append(slices.Clone(t.members), v.sharingWith(t, q)...) {
		inTree := i < len(t.members)
		if q.InTree != "" && !v.sameTree(p, q.InTree) || inTree && !member(p, t.root, q) {
			continue
		}
		if fits(p, want) && q.Traits.ok(p.HasTrait) {
			list = append(list, p)
		}
	}
	return list
}

func (v *snapshot) sameTree(p *Provider, uuid string) bool {
	other := v.providers[uuid]
	return other != nil && other.RootUUID == p.RootUUID
}

// A grouping walks the choices of a provider for each group.
type grouping struct {
	t       *tree
	q       *Query
	options [][]*Provider
	picked  []*Provider
	rest    []Part
	out     *Candidates
	limit   int
}

func (g *grouping) pick(i int) {
	if g.out.done(g.limit) {
		return
	}
	if i == len(g.picked) {
		if c, ok := g.assemble(); ok {
			g.out.List = append(g.out.List, c)
		}
		return
	}
	for _, p := range g.options[i] {
		if g.q.Isolate && len(g.q.Groups[i].Resources) > 0 && g.taken(p, i) {
			continue
		}
		g.picked[i] = p
		g.pick(i + 1)
	}
}

// taken tells whether an earlier group has resources of p.
func (g *grouping) taken(p *Provider, before int) bool {
	for i := range before {
		if g.picked[i] == p && len(g.q.Groups[i].Resources) > 0 {
			return true
		}
	}
	return false
}

// assemble adds the groups to the rest and checks what only the whole can
// tell: the sum of what one provider gives, and the subtrees.
func (g *grouping) assemble() (Candidate, bool) {
	c := Candidate{Groups: map[string][]*Provider{}}
	for _, part := range g.rest {
		c.add(part.Provider, part.Resources)
		c.Groups[""] = append(c.Groups[""], part.Provider)
	}
	ofTree := slices.ContainsFunc(c.Parts, func(p Part) bool { return p.Provider.RootUUID == g.t.root.UUID })
	for i, p := range g.picked {
		ofTree = ofTree || p.RootUUID == g.t.root.UUID
		c.Groups[g.q.Groups[i].Suffix] = []*Provider{p}
		if len(g.q.Groups[i].Resources) > 0 {
			c.add(p, g.q.Groups[i].Resources)
		}
	}
	if !ofTree || len(c.Parts) == 0 {
		return c, false
	}
	for _, part := range c.Parts {
		if !g.q.Nested && part.Provider.ParentUUID != "" {
			return c, false
		}
		if !fits(part.Provider, wanted(part.Resources)) {
			return c, false
		}
	}
	return c, g.subtrees()
}

// add gives a part to a provider, on top of what it gives already.
func (c *Candidate) add(p *Provider, resources map[string]int64) {
	at := slices.IndexFunc(c.Parts, func(part Part) bool { return part.Provider == p })
	if at < 0 {
		at = len(c.Parts)
		c.Parts = append(c.Parts, Part{Provider: p, Resources: map[string]int64{}})
	}
	for class, n := range resources {
		c.Parts[at].Resources[class] += n
	}
}

// subtrees checks that in each set of groups one provider is above all others.
func (g *grouping) subtrees() bool {
	for _, set := range g.q.SameSubtree {
		var members []*Provider
		for i := range g.q.Groups {
			if slices.Contains(set, g.q.Groups[i].Suffix) {
				members = append(members, g.picked[i])
			}
		}
		if !slices.ContainsFunc(members, func(top *Provider) bool {
			return !slices.ContainsFunc(members, func(p *Provider) bool { return !g.under(p, top) })
		}) {
			return false
		}
	}
	return true
}

// under tells whether p is top or below it.
func (g *grouping) under(p, top *Provider) bool {
	for p != nil && p != top {
		i := slices.IndexFunc(g.t.members, func(m *Provider) bool { return m.UUID == p.ParentUUID })
		if i < 0 {
			return false
		}
		p = g.t.members[i]
	}
	return p == top
}
