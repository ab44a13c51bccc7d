package placement

import "slices"

// combine adds the candidates of a tree of several providers, or of one that
// providers outside may share with: each class comes whole from one provider,
// of the tree or sharing with it.
func (v *snapshot) combine(t *tree, q *Query, out *Candidates, limit int) {
	members := slices.DeleteFunc(slices.Clone(t.members), func(p *Provider) bool { return !member(p, t.root, q) })
	sharing := v.sharingWith(t, q)
	classes := sortedKeys(q.Resources)
	choices := make([][]*Provider, len(classes))
	for i, class := range classes {
		for _, p := range append(slices.Clone(members), sharing...) {
			if inv := p.Inventory(class); inv != nil && inv.Fits(q.Resources[class]) {
				choices[i] = append(choices[i], p)
			}
		}
		if len(choices[i]) == 0 {
			return
		}
	}
	before := len(out.List)
	picked := make([]*Provider, len(classes))
	v.pick(t, q, classes, choices, picked, 0, out, limit)
	out.summarise(t, before)
}

// summarise lists the providers of a tree, and those that share with it, for
// the candidates from the given one on.
func (out *Candidates) summarise(t *tree, from int) {
	if len(out.List) == from {
		return
	}
	out.Providers = append(out.Providers, t.members...)
	for _, c := range out.List[from:] {
		for _, part := range c.Parts {
			if !slices.Contains(out.Providers, part.Provider) {
				out.Providers = append(out.Providers, part.Provider)
			}
		}
	}
}

// sharingWith are the sharing providers that have an aggregate in common with
// a member of the tree.
func (v *snapshot) sharingWith(t *tree, q *Query) []*Provider {
	var list []*Provider
	for _, p := range v.sharing {
		if p.RootUUID == t.root.UUID || !member(p, p, q) {
			continue
		}
		for _, m := range t.members {
			if slices.ContainsFunc(p.Aggregates, m.InAggregate) {
				list = append(list, p)
				break
			}
		}
	}
	return list
}

// pick walks all choices of a provider for each class.
func (v *snapshot) pick(t *tree, q *Query, classes []string, choices [][]*Provider, picked []*Provider, i int, out *Candidates, limit int) {
	if out.done(limit) {
		return
	}
	if i == len(classes) {
		if c, ok := assemble(t, q, classes, picked); ok {
			out.List = append(out.List, c)
		}
		return
	}
	for _, p := range choices[i] {
		picked[i] = p
		v.pick(t, q, classes, choices, picked, i+1, out, limit)
	}
}

// assemble makes a candidate of one provider for each class. Traits may come
// from any of the providers that give something; none may have a forbidden one.
func assemble(t *tree, q *Query, classes []string, picked []*Provider) (Candidate, bool) {
	var c Candidate
	ofTree := false
	for i, p := range picked {
		ofTree = ofTree || p.RootUUID == t.root.UUID
		at := slices.IndexFunc(c.Parts, func(part Part) bool { return part.Provider == p })
		if at < 0 {
			at = len(c.Parts)
			c.Parts = append(c.Parts, Part{Provider: p, Resources: map[string]int64{}})
		}
		c.Parts[at].Resources[classes[i]] = q.Resources[classes[i]]
	}
	// What sharing providers can serve alone is found in their own trees.
	if !ofTree {
		return c, false
	}
	if !q.Nested && slices.ContainsFunc(c.Parts, func(p Part) bool { return p.Provider.ParentUUID != "" }) {
		return c, false
	}
	return c, q.Traits.ok(func(trait string) bool {
		return slices.ContainsFunc(c.Parts, func(p Part) bool { return p.Provider.HasTrait(trait) })
	})
}
