package placementapi

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/placement"
)

// The parameters of granular request groups: a number behind the name since
// 1.25, any suffix since 1.33.
var (
	numbered = regexp.MustCompile(`^(resources|required|member_of|in_tree)([1-9][0-9]*)$`)
	suffixed = regexp.MustCompile(`^(resources|required|member_of|in_tree)([A-Za-z0-9_-]{1,64})$`)
)

// takeGroups moves the parameters of groups out of q, by suffix.
func takeGroups(r *httpapi.Request, q url.Values) map[string]url.Values {
	form := numbered
	switch {
	case !version(r, 25):
		return nil
	case version(r, 33):
		form = suffixed
	}
	groups := map[string]url.Values{}
	for name, values := range q {
		m := form.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		if groups[m[2]] == nil {
			groups[m[2]] = url.Values{}
		}
		groups[m[2]][m[1]] = values
		delete(q, name)
	}
	return groups
}

// readGroups reads the groups and how they relate.
func readGroups(r *httpapi.Request, q url.Values, groups map[string]url.Values, out *placement.Query) error {
	withResources := 0
	for _, suffix := range slices.Sorted(maps.Keys(groups)) {
		params := groups[suffix]
		g := placement.Group{Suffix: suffix}
		if err := once(params, "resources", "in_tree"); err != nil {
			return err
		}
		if params.Has("in_tree") && !version(r, 31) {
			return badValue("in_tree%s needs microversion 1.31", suffix)
		}
		if err := readCommon(r, params, &g.Query); err != nil {
			return err
		}
		if len(g.Resources) > 0 {
			withResources++
		} else if !version(r, 36) {
			return badValue("all traits and aggregates must be associated with resources: resources%s is missing", suffix)
		}
		out.Groups = append(out.Groups, g)
	}
	if len(out.Resources) == 0 && withResources == 0 {
		return fault.New(fault.BadRequest, "resources is a required parameter").WithCode(placement.CodeMissingValue)
	}
	if err := readGroupPolicy(q, withResources, out); err != nil {
		return err
	}
	return readSubtrees(q, out)
}

func readGroupPolicy(q url.Values, withResources int, out *placement.Query) error {
	switch policy := q.Get("group_policy"); {
	case policy == "isolate":
		out.Isolate = true
	case policy == "none":
	case q.Has("group_policy"):
		return badValue("invalid group_policy %.40q: it is \"none\" or \"isolate\"", policy)
	case withResources > 1:
		return fault.New(fault.BadRequest, "the \"group_policy\" parameter is required when specifying more than one \"resources{N}\" parameter").
			WithCode(placement.CodeMissingValue)
	}
	return nil
}

// readSubtrees reads same_subtree, sets of suffixes.
func readSubtrees(q url.Values, out *placement.Query) error {
	used := map[string]bool{}
	for _, text := range q["same_subtree"] {
		set := strings.Split(text, ",")
		for _, suffix := range set {
			if !slices.ContainsFunc(out.Groups, func(g placement.Group) bool { return g.Suffix == suffix }) {
				return badValue("real suffixes should be specified in same_subtree: %.80q not found", suffix)
			}
			used[suffix] = true
		}
		out.SameSubtree = append(out.SameSubtree, set)
	}
	for _, g := range out.Groups {
		if len(g.Resources) == 0 && !used[g.Suffix] {
			return badValue("resourceless suffixed group request %.80q should be specified in same_subtree", g.Suffix)
		}
	}
	return nil
}
