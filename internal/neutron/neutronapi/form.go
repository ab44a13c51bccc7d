package neutronapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/policy"
)

// A form is one resource in a request's body. Each attribute is taken out by
// the method of its type; what nobody took is refused at the end. The first
// mistake is kept and ends the reading.
type form struct {
	a      *API
	r      *httpapi.Request
	action string // "create_network": the rule of the request
	raw    map[string]json.RawMessage
	given  []string // every attribute of the body
	err    error
}

// forms reads a body that holds one resource under its name, or on create
// several under the plural.
func (a *API) forms(r *httpapi.Request, action, one, many string) (list []*form, bulk bool, err error) {
	b, err := r.ReadBody()
	if err != nil {
		return nil, false, err
	}
	var body map[string]json.RawMessage
	if err := decode(b, &body); err != nil {
		return nil, false, err
	}
	if raw, ok := body[one]; ok {
		f, err := a.form(r, action, one, raw)
		return []*form{f}, false, err
	}
	raw, ok := body[many]
	if !ok || many == "" {
		return nil, false, badRequest("Unable to find '%s' in request body", one)
	}
	var items []json.RawMessage
	if err := decode(raw, &items); err != nil || len(items) == 0 {
		return nil, false, badRequest("Resources required: '%s' must be a list with at least one element", many)
	}
	if len(items) > maxBulk {
		return nil, false, badRequest("'%s' holds more than %d elements", many, maxBulk)
	}
	for _, item := range items {
		f, err := a.form(r, action, one, item)
		if err != nil {
			return nil, false, err
		}
		list = append(list, f)
	}
	return list, true, nil
}

// maxBulk bounds how many resources one request may create.
const maxBulk = 200

func (a *API) form(r *httpapi.Request, action, one string, raw json.RawMessage) (*form, error) {
	f := &form{a: a, r: r, action: action}
	if err := decode(raw, &f.raw); err != nil || f.raw == nil {
		return nil, badRequest("Invalid body: '%s' must be an object", one)
	}
	f.given = slices.Sorted(maps.Keys(f.raw))
	return f, nil
}

func decode(b []byte, v any) error {
	if len(bytes.TrimSpace(b)) == 0 {
		return badRequest("Resource body required")
	}
	if !utf8.Valid(b) {
		return badRequest("The server could not comply with the request since it is either malformed or otherwise incorrect.")
	}
	if err := json.Unmarshal(b, v); err != nil {
		return badRequest("The server could not comply with the request since it is either malformed or otherwise incorrect.")
	}
	return nil
}

func (f *form) has(name string) bool {
	_, ok := f.raw[name]
	return ok
}

// enforce checks the rule of the action, and the rule of each attribute in
// the body that has one: also of those given with their default, which would
// otherwise be a way to reset them. It must come before attributes are taken.
func (f *form) enforce(t policy.Target) error {
	if f.err != nil {
		return f.err
	}
	if err := f.r.EnforceRule(f.action, t); err != nil {
		return err
	}
	for _, name := range f.given {
		rule := f.action + ":" + name
		if _, ok := f.a.policy.Rule(rule); ok {
			if err := f.r.EnforceRule(rule, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// project is the project a new resource will belong to: the caller's, or for
// an administrator the one given.
func (f *form) project() string {
	own := f.r.Identity().ProjectID
	var project, tenant string
	f.str("project_id", 255, &project)
	f.str("tenant_id", 255, &tenant)
	if project != "" && tenant != "" && project != tenant {
		f.fail(badRequest("'project_id' and 'tenant_id' do not match"))
	}
	if project == "" {
		project = tenant
	}
	if project == "" || project == own {
		return own
	}
	if !f.r.Allowed("context_is_admin", policy.Target{}) {
		f.fail(badRequest("Specifying 'project_id' or 'tenant_id' other than the authenticated project in request requires admin privileges"))
	}
	return project
}

func (f *form) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

func (f *form) invalid(name, format string, args ...any) {
	f.fail(badRequest("Invalid input for %s. Reason: %s", name, fmt.Sprintf(format, args...)))
}

// take removes an attribute from the body; false if it is not there.
func (f *form) take(name string) (json.RawMessage, bool) {
	raw, ok := f.raw[name]
	delete(f.raw, name)
	return raw, ok
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

func (f *form) str(name string, limit int, dst *string) bool {
	raw, ok := f.take(name)
	if !ok {
		return false
	}
	var s string
	if isNull(raw) || json.Unmarshal(raw, &s) != nil {
		f.invalid(name, "'%s' is not a valid string.", pyText(raw))
		return false
	}
	if n := utf8.RuneCountInString(s); n > limit {
		f.invalid(name, "'%s' exceeds maximum length of %d.", clip(s), limit)
		return false
	}
	if strings.ContainsRune(s, 0) {
		f.invalid(name, "it holds a null character.")
		return false
	}
	*dst = s
	return true
}

// strPtr is str for an update: dst stays nil unless the attribute is given.
func (f *form) strPtr(name string, limit int, dst **string) {
	var s string
	if f.str(name, limit, &s) {
		*dst = &s
	}
}

// nullable reads a string that may be null; given tells that it was there.
func (f *form) nullable(name string, limit int, dst **string) (given bool) {
	if isNull(f.raw[name]) && f.has(name) {
		delete(f.raw, name)
		*dst = nil
		return true
	}
	var s string
	if !f.str(name, limit, &s) {
		return false
	}
	*dst = &s
	return true
}

func (f *form) boolean(name string, dst *bool) bool {
	raw, ok := f.take(name)
	if !ok {
		return false
	}
	text := strings.Trim(string(raw), `"`)
	switch strings.ToLower(text) {
	case "true", "1":
		*dst = true
	case "false", "0":
		*dst = false
	default:
		f.invalid(name, "'%s' cannot be converted to boolean.", pyText(raw))
		return false
	}
	return true
}

func (f *form) boolPtr(name string, dst **bool) {
	var b bool
	if f.boolean(name, &b) {
		*dst = &b
	}
}

func (f *form) integer(name string, dst *int) bool {
	raw, ok := f.take(name)
	if !ok {
		return false
	}
	n, err := strconv.Atoi(strings.Trim(string(raw), `"`))
	if err != nil {
		f.invalid(name, "'%s' is not an integer.", pyText(raw))
		return false
	}
	*dst = n
	return true
}

// intPtr reads a whole number or null; null and absent leave dst nil.
func (f *form) intPtr(name string, dst **int) {
	if isNull(f.raw[name]) && f.has(name) {
		delete(f.raw, name)
		return
	}
	var n int
	if f.integer(name, &n) {
		*dst = &n
	}
}

func (f *form) uuid(name string, dst *string) bool {
	var s string
	if !f.str(name, 255, &s) {
		return false
	}
	if !ids.IsUUID(s) {
		f.invalid(name, "'%s' is not a valid UUID.", clip(s))
		return false
	}
	*dst = s
	return true
}

// uuidOrNull reads a UUID; null and, as clients send it, the empty string
// leave dst nil.
func (f *form) uuidOrNull(name string, dst **string) (given bool) {
	if raw, ok := f.raw[name]; ok && (isNull(raw) || string(raw) == `""`) {
		delete(f.raw, name)
		*dst = nil
		return true
	}
	var s string
	if !f.uuid(name, &s) {
		return false
	}
	*dst = &s
	return true
}

func (f *form) require(names ...string) {
	for _, n := range names {
		if !f.has(n) {
			f.fail(badRequest("Failed to parse request. Required attribute '%s' not specified", n))
		}
	}
}

// strings reads a list of strings; null counts as the empty list.
func (f *form) strings(name string, dst *[]string) bool {
	raw, ok := f.take(name)
	if !ok {
		return false
	}
	list := []string{}
	if json.Unmarshal(raw, &list) != nil {
		f.invalid(name, "'%s' is not a list of strings.", pyText(raw))
		return false
	}
	if list == nil {
		list = []string{}
	}
	*dst = list
	return true
}

// object reads a value of a known shape and refuses members it does not have.
func (f *form) object(name string, dst any) bool {
	raw, ok := f.take(name)
	if !ok {
		return false
	}
	if err := httpapi.DecodeJSON(raw, dst, true); err != nil {
		text := "'" + pyText(raw) + "' is not valid."
		if e := fault.As(err); e != nil {
			text = e.Text + "."
		}
		f.invalid(name, "%s", text)
		return false
	}
	return true
}

// ignore takes attributes that are accepted only with the value that stands
// for "nothing": clients send them, and their features are not built.
func (f *form) ignore(names ...string) {
	for _, n := range names {
		raw, ok := f.take(n)
		if !ok {
			continue
		}
		switch string(raw) {
		case "null", "false", `""`, "[]", "{}", "0":
		default:
			f.fail(fault.New(fault.NotImplemented, "attribute '%s' is not supported", n))
		}
	}
}

// done refuses attributes that nobody took. Those in readOnly exist and may
// only be read.
func (f *form) done(readOnly ...string) error {
	if f.err != nil {
		return f.err
	}
	left := slices.Sorted(maps.Keys(f.raw))
	for _, n := range left {
		if slices.Contains(readOnly, n) || slices.Contains(standardReadOnly, n) {
			if strings.HasPrefix(f.action, "update_") {
				return badRequest("Cannot update read-only attribute %s", n)
			}
			return badRequest("Attribute '%s' not allowed in POST", n)
		}
	}
	if len(left) > 0 {
		return badRequest("Unrecognized attribute(s) '%s'", clip(strings.Join(left, ", ")))
	}
	return nil
}

var standardReadOnly = []string{"id", "status", "created_at", "updated_at", "revision_number", "tenant_id", "project_id"}

// pyText shortens a value for an error message and names null as Python does.
func pyText(raw json.RawMessage) string {
	if isNull(raw) {
		return "None"
	}
	return clip(strings.Trim(string(raw), `"`))
}

func clip(s string) string {
	if len(s) <= 80 {
		return s
	}
	return strings.ToValidUTF8(s[:80], "") + "..."
}

// revision reads the revision that an If-Match header makes a condition.
func revision(r *httpapi.Request) (*int64, error) {
	h := strings.TrimSpace(r.Header.Get("If-Match"))
	if h == "" {
		return nil, nil
	}
	text, ok := strings.CutPrefix(strings.Trim(h, `"`), "revision_number=")
	n, err := strconv.ParseInt(strings.Trim(text, `"`), 10, 64)
	if !ok || err != nil {
		return nil, badRequest("Invalid value for 'If-Match' header: expected revision_number=N")
	}
	return &n, nil
}
