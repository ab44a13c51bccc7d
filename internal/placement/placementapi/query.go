package placementapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/placement"
)

func badValue(format string, args ...any) error {
	return fault.New(fault.BadRequest, format, args...).WithCode(placement.CodeBadValue)
}

// onlyKnown refuses parameters that the route and microversion do not have.
func onlyKnown(q url.Values, known ...string) error {
	for name := range q {
		if !slices.Contains(known, name) {
			return badValue("invalid query string parameters: additional properties are not allowed (%.80q was unexpected)", name)
		}
	}
	return nil
}

// once refuses parameters that may not be repeated.
func once(q url.Values, names ...string) error {
	for _, name := range names {
		if len(q[name]) > 1 {
			return fault.New(fault.BadRequest, "duplicate query parameter %s", name).WithCode(placement.CodeDuplicateKey)
		}
	}
	return nil
}

func readCandidateQuery(r *httpapi.Request) (*placement.Query, error) {
	q := r.URL.Query()
	groups := takeGroups(r, q)
	known := []string{"resources"}
	for name, minor := range map[string]int{"limit": 16, "required": 17, "member_of": 21, "in_tree": 31, "root_required": 35, "group_policy": 25, "same_subtree": 36} {
		if version(r, minor) {
			known = append(known, name)
		}
	}
	if err := onlyKnown(q, known...); err != nil {
		return nil, err
	}
	if err := once(q, "resources", "limit", "in_tree", "root_required", "group_policy"); err != nil {
		return nil, err
	}
	out := &placement.Query{Nested: version(r, 29)}
	if err := readCommon(r, q, out); err != nil {
		return nil, err
	}
	if err := readGroups(r, q, groups, out); err != nil {
		return nil, err
	}
	if q.Has("limit") {
		n, err := strconv.Atoi(q.Get("limit"))
		if err != nil || n < 1 {
			return nil, badValue("invalid limit %.40q: a whole number of at least 1 is needed", q.Get("limit"))
		}
		out.Limit = n
	}
	if q.Has("root_required") {
		if err := readTraits(r, q["root_required"], &out.RootTraits); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// readCommon reads what candidates and lists of providers share.
func readCommon(r *httpapi.Request, q url.Values, out *placement.Query) error {
	if q.Has("resources") {
		if err := readResources(q.Get("resources"), out); err != nil {
			return err
		}
	}
	if len(q["required"]) > 1 && !version(r, 39) {
		return once(q, "required")
	}
	if q.Has("required") {
		if err := readTraits(r, q["required"], &out.Traits); err != nil {
			return err
		}
	}
	if len(q["member_of"]) > 1 && !version(r, 24) {
		return once(q, "member_of")
	}
	for _, text := range q["member_of"] {
		if err := readMemberOf(r, text, out); err != nil {
			return err
		}
	}
	if q.Has("in_tree") {
		if out.InTree = q.Get("in_tree"); !ids.IsUUID(out.InTree) {
			return badValue("invalid in_tree %.60q: it is not a uuid", out.InTree)
		}
	}
	return nil
}

// readResources reads "VCPU:2,MEMORY_MB:512".
func readResources(text string, out *placement.Query) error {
	out.Resources = map[string]int64{}
	for part := range strings.SplitSeq(text, ",") {
		class, amount, ok := strings.Cut(part, ":")
		n, err := strconv.ParseInt(amount, 10, 64)
		if !ok || class == "" || err != nil || n < 1 || n > placement.MaxInt {
			return badValue("badly formed resources parameter: %.80q is not CLASS:AMOUNT with an amount of at least 1", part)
		}
		if _, twice := out.Resources[class]; twice {
			return badValue("badly formed resources parameter: %.80s is there twice", class)
		}
		out.Resources[class] = n
	}
	return nil
}

// readTraits reads "A,!B" (forbidden since 1.22) and "in:A,B" (since 1.39).
func readTraits(r *httpapi.Request, texts []string, out *placement.TraitQuery) error {
	for _, text := range texts {
		if any, ok := strings.CutPrefix(text, "in:"); ok {
			if !version(r, 39) {
				return badValue("invalid required %.80q: in: needs microversion 1.39", text)
			}
			set := strings.Split(any, ",")
			if slices.ContainsFunc(set, func(t string) bool { return t == "" || t[0] == '!' }) {
				return badValue("invalid required %.80q", text)
			}
			out.AllOf = append(out.AllOf, set)
			continue
		}
		for t := range strings.SplitSeq(text, ",") {
			name, forbidden := strings.CutPrefix(t, "!")
			if name == "" || forbidden && !version(r, 22) {
				return badValue("invalid required %.80q: expecting a comma-separated list of traits", text)
			}
			if forbidden {
				out.None = append(out.None, name)
			} else {
				out.AllOf = append(out.AllOf, []string{name})
			}
		}
	}
	for _, set := range out.AllOf {
		if len(set) == 1 && slices.Contains(out.None, set[0]) {
			return badValue("trait %.80s is required and forbidden", set[0])
		}
	}
	return nil
}

// readMemberOf reads "uuid", "in:uuid,uuid" and, since 1.32, "!uuid" and "!in:".
func readMemberOf(r *httpapi.Request, text string, out *placement.Query) error {
	rest, not := strings.CutPrefix(text, "!")
	list, many := strings.CutPrefix(rest, "in:")
	uuids := strings.Split(list, ",")
	if not && !version(r, 32) || len(uuids) > 1 && !many {
		return badValue("invalid member_of %.80q", text)
	}
	for _, u := range uuids {
		if !ids.IsUUID(u) {
			return badValue("invalid member_of: %.60q is not a uuid", u)
		}
	}
	if not {
		out.NotMemberOf = append(out.NotMemberOf, uuids...)
	} else {
		out.MemberOf = append(out.MemberOf, uuids)
	}
	return nil
}

func readListFilter(r *httpapi.Request) (*placement.ListFilter, error) {
	q := r.URL.Query()
	known := []string{"name", "uuid"}
	for name, minor := range map[string]int{"member_of": 3, "resources": 4, "in_tree": 14, "required": 18} {
		if version(r, minor) {
			known = append(known, name)
		}
	}
	if err := onlyKnown(q, known...); err != nil {
		return nil, err
	}
	if err := once(q, "name", "uuid", "resources", "in_tree"); err != nil {
		return nil, err
	}
	f := &placement.ListFilter{UUID: q.Get("uuid"), Name: q.Get("name")}
	if q.Has("uuid") && !ids.IsUUID(f.UUID) {
		return nil, badValue("invalid uuid %.60q", f.UUID)
	}
	return f, readCommon(r, q, &f.Query)
}

func readTraitFilter(r *httpapi.Request) (placement.TraitFilter, error) {
	var f placement.TraitFilter
	q := r.URL.Query()
	if err := onlyKnown(q, "name", "associated"); err != nil {
		return f, err
	}
	if q.Has("name") {
		text := q.Get("name")
		if list, ok := strings.CutPrefix(text, "in:"); ok {
			f.Names = strings.Split(list, ",")
		} else if f.Prefix, ok = strings.CutPrefix(text, "startswith:"); !ok {
			return f, badValue("badly formatted name parameter %.80q: expected startswith: or in:", text)
		}
	}
	if q.Has("associated") {
		switch strings.ToLower(q.Get("associated")) {
		case "true":
			f.Associated = new(bool)
			*f.Associated = true
		case "false":
			f.Associated = new(bool)
		default:
			return f, badValue("the query parameter for \"associated\" only accepts \"true\" or \"false\"")
		}
	}
	return f, nil
}
