package keystoneapi

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/policy"
)

// maxExtra bounds what one request may add in attributes that Keystone keeps
// without knowing them, in bytes.
const maxExtra = 32 << 10

// attrs are the attributes of a resource in a request body. Reading one takes
// it out; extra returns what was not read. The first mistake is kept in err.
type attrs struct {
	kind string
	m    map[string]json.RawMessage
	err  error
}

// readAttrs reads a body of the form {"user": {...}}.
func readAttrs(r *httpapi.Request, kind string) (*attrs, error) {
	var body map[string]json.RawMessage
	if err := r.DecodeLoose(&body); err != nil {
		return nil, err
	}
	raw, ok := body[kind]
	if !ok {
		return nil, fault.New(fault.BadRequest, "expecting to find %s in request body", kind)
	}
	a := &attrs{kind: kind}
	if err := json.Unmarshal(raw, &a.m); err != nil || a.m == nil {
		return nil, fault.New(fault.BadRequest, "%s must be an object", kind)
	}
	return a, nil
}

func (a *attrs) fail(format string, args ...any) {
	if a.err == nil {
		a.err = fault.New(fault.BadRequest, format, args...)
	}
}

func (a *attrs) take(name string) (json.RawMessage, bool) {
	raw, ok := a.m[name]
	delete(a.m, name)
	return raw, ok
}

// text reads a string that may not be null; nil if it is absent.
func (a *attrs) text(name string) *string {
	raw, ok := a.take(name)
	if !ok {
		return nil
	}
	var s *string
	if json.Unmarshal(raw, &s) != nil || s == nil {
		a.fail("invalid input for field %s.%s: it must be a string", a.kind, name)
	}
	return s
}

// orNull reads a string or null, which is the empty text; nil if it is absent.
func (a *attrs) orNull(name string) *string {
	if string(a.m[name]) == "null" {
		delete(a.m, name)
		return new(string)
	}
	return a.text(name)
}

// required reads a string that must be there.
func (a *attrs) required(name string) string {
	s := a.text(name)
	if s == nil {
		a.fail("%q is a required property of %s", name, a.kind)
		return ""
	}
	return *s
}

// secret reads a string that no error and no log may show; null counts as
// absent, as Keystone takes a user without password.
func (a *attrs) secret(name string) *config.Secret {
	s := a.orNull(name)
	if s == nil || *s == "" {
		return nil
	}
	out := config.NewSecret(*s)
	return &out
}

// boolean reads true or false and nothing that looks like them (OSSA-2026-007).
func (a *attrs) boolean(name string) *bool {
	raw, ok := a.take(name)
	if !ok {
		return nil
	}
	var b httpapi.Bool
	if err := json.Unmarshal(raw, &b); err != nil || string(raw) == "null" {
		a.fail("invalid input for field %s.%s: it must be true or false", a.kind, name)
		return nil
	}
	v := bool(b)
	return &v
}

// texts reads a list of strings; nil if it is absent.
func (a *attrs) texts(name string) *[]string {
	raw, ok := a.take(name)
	if !ok {
		return nil
	}
	out := []string{}
	if json.Unmarshal(raw, &out) != nil || string(raw) == "null" {
		a.fail("invalid input for field %s.%s: it must be a list of strings", a.kind, name)
	}
	return &out
}

// same refuses to change an attribute that never changes.
func (a *attrs) same(name, now string) {
	if v := a.orNull(name); v != nil && *v != now {
		a.fail("cannot change %s of a %s", name, a.kind)
	}
}

// extra returns the attributes that were not read. Options must be an object,
// for that is how clients read them.
func (a *attrs) extra() keystone.Extra {
	delete(a.m, "id")
	delete(a.m, "links")
	if raw, ok := a.m["options"]; ok && !strings.HasPrefix(string(raw), "{") {
		a.fail("invalid input for field %s.options: it must be an object", a.kind)
	}
	if len(a.m) == 0 {
		return nil
	}
	size := 0
	for name, raw := range a.m {
		size += len(name) + len(raw)
	}
	if size > maxExtra {
		a.fail("the additional attributes of a %s have %d bytes together; at most %d are kept", a.kind, size, maxExtra)
	}
	return a.m
}

func deref[T any](p *T, absent T) T {
	if p == nil {
		return absent
	}
	return *p
}

// object is a resource in an answer. Extra attributes never hide known ones.
type object map[string]any

func (o object) with(extra keystone.Extra) object {
	for k, v := range extra {
		if _, known := o[k]; !known || k == "options" {
			o[k] = v
		}
	}
	return o
}

// orNil is null for the empty text.
func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (a *API) self(format ...string) object {
	return object{"self": a.base + "/v3/" + strings.Join(format, "/")}
}

// collection is a list with its links. Each item must have an id if it is paged.
func (a *API) collection(r *httpapi.Request, key string, items []object) object {
	self := a.base + r.URL.Path
	if r.URL.RawQuery != "" {
		self += "?" + r.URL.RawQuery
	}
	links := object{"self": self, "previous": nil, "next": nil}
	if limit, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil && limit > 0 && len(items) >= limit {
		q := r.URL.Query()
		q.Set("marker", items[len(items)-1]["id"].(string))
		links["next"] = a.base + r.URL.Path + "?" + q.Encode()
	}
	return object{key: items, "links": links}
}

func views[T any](rows []T, view func(*T) object) []object {
	out := make([]object, len(rows))
	for i := range rows {
		out[i] = view(&rows[i])
	}
	return out
}

// filterOf reads conditions, limit and marker from a query. What a resource
// cannot be filtered by is ignored there, as Keystone does.
func filterOf(r *httpapi.Request) (keystone.Filter, error) {
	var f keystone.Filter
	q := r.URL.Query()
	for key, values := range q {
		switch key {
		case "limit":
			n, err := strconv.Atoi(values[0])
			if err != nil || n < 0 {
				return f, fault.New(fault.BadRequest, "limit %q is not a whole number of at least 0", values[0])
			}
			f.Limit = n
		case "marker":
			f.Marker = values[0]
		default:
			field, op, _ := strings.Cut(key, "__")
			f.Conditions = append(f.Conditions, keystone.Condition{Field: field, Op: op, Value: values[0]})
		}
	}
	slices.SortFunc(f.Conditions, func(x, y keystone.Condition) int { return strings.Compare(x.Field+x.Op, y.Field+y.Op) })
	return f, nil
}

// inDomain limits a list to the domain of a domain-scoped token. A condition
// for another domain then finds nothing.
func inDomain(r *httpapi.Request, f keystone.Filter, field string) keystone.Filter {
	if d := r.Identity().DomainID; d != "" {
		return f.With(field, d)
	}
	return f
}

// flag reads a query parameter that is true when it is there, as ?effective.
func flag(q url.Values, name string) bool {
	if !q.Has(name) {
		return false
	}
	v := strings.ToLower(q.Get(name))
	return v != "0" && v != "false"
}

// enforceOn loads a resource and checks the route's rule against it. Who may
// not see it does not learn whether it exists either.
func enforceOn[T any](r *httpapi.Request, load func() (T, error), target func(T) policy.Target) (T, error) {
	v, err := load()
	if fault.Is(err, fault.NotFound) {
		if err := r.Enforce(policy.Target{}); err != nil {
			return v, err
		}
		return v, err
	}
	if err != nil {
		return v, err
	}
	return v, r.Enforce(target(v))
}

// defaultDomain is the domain of what a caller creates without naming one.
func defaultDomain(r *httpapi.Request) string {
	id := r.Identity()
	for _, d := range []string{id.DomainID, id.ProjectDomainID, id.UserDomainID} {
		if d != "" {
			return d
		}
	}
	return keystone.DefaultDomain
}
