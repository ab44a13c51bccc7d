package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/policy"
	"github.com/hastack/hastack/internal/telemetry"
)

// A Request is one request on its route. It belongs to one goroutine.
type Request struct {
	*http.Request
	rt        *Router
	route     Route
	version   Microversion
	enforced  bool
	streaming bool
}

// admit refuses a request without a token on a route that needs one, before
// its body is read.
func (r *Request) admit() error {
	if r.route.Rule == Public {
		return nil
	}
	if r.Identity() == nil && r.rt.cfg.Auth != nil {
		return fault.New(fault.Unauthorized, "the request needs authentication")
	}
	return nil
}

// enforcedOrError turns a forgotten policy check into a 500.
func (r *Request) enforcedOrError() error {
	if r.enforced || r.route.Rule == Public || r.route.Rule == AnyToken {
		return nil
	}
	return errors.New("handler of " + r.route.Method + " " + r.route.Path + " answered without enforcing " + r.route.Rule)
}

// Enforce checks the route's rule against target; nil means the caller's own
// project and user. It returns Forbidden where the rule does not hold.
func (r *Request) Enforce(target policy.Target) error {
	if r.route.Rule == Public || r.route.Rule == AnyToken {
		r.enforced = true
		return nil
	}
	return r.EnforceRule(r.route.Rule, target)
}

// EnforceRule checks a rule other than the route's own.
func (r *Request) EnforceRule(rule string, target policy.Target) error {
	id := r.Identity()
	if id == nil {
		return fault.New(fault.Unauthorized, "the request needs authentication")
	}
	if err := r.rt.cfg.Policy.Enforce(rule, id.Credentials(), r.target(id, target)); err != nil {
		return err
	}
	r.enforced = true
	return nil
}

// Allowed tells whether a rule holds, without counting as enforcement.
func (r *Request) Allowed(rule string, target policy.Target) bool {
	id := r.Identity()
	return id != nil && r.rt.cfg.Policy.Allowed(rule, id.Credentials(), r.target(id, target))
}

func (r *Request) target(id *authtoken.Identity, target policy.Target) policy.Target {
	if target != nil {
		return target
	}
	return policy.Target{"project_id": id.ProjectID, "user_id": id.UserID}
}

// Identity is the caller's identity, nil on public routes without a token.
func (r *Request) Identity() *authtoken.Identity { return authtoken.FromContext(r.Context()) }

// Version is the microversion that the request asked for.
func (r *Request) Version() Microversion { return r.version }

// PublicURL is what links in answers begin with, without a trailing slash.
func (r *Request) PublicURL() string { return r.rt.cfg.PublicURL }

// ID is the request id.
func (r *Request) ID() string { return telemetry.RequestID(r.Context()) }

// Decode reads a JSON body into v. It refuses another content type (415), a
// body over the limit (413), and, with 400 and the field's name, unknown
// fields, wrong types, and anything behind the document.
func (r *Request) Decode(v any) error { return r.decode(v, true) }

// DecodeLoose is Decode for resources that keep fields they do not know.
func (r *Request) DecodeLoose(v any) error { return r.decode(v, false) }

func (r *Request) decode(v any, strict bool) error {
	b, err := r.ReadBody()
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return fault.New(fault.BadRequest, "the request body must not be empty")
	}
	return DecodeJSON(b, v, strict)
}

// ReadBody reads a whole JSON body after checking its content type.
func (r *Request) ReadBody() ([]byte, error) {
	if ct := r.Header.Get("Content-Type"); ct != "" {
		if mt, _, err := mime.ParseMediaType(ct); err != nil || mt != "application/json" && !strings.HasSuffix(mt, "+json") && !strings.HasSuffix(mt, "-json-patch") {
			return nil, fault.New(fault.UnsupportedMedia, "content type %q is not supported; send application/json", ct)
		}
	}
	b, err := io.ReadAll(r.Body)
	if err == nil {
		return b, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, err
	}
	return nil, fault.Wrap(fault.BadRequest, err, "the request body could not be read")
}

// DecodeJSON reads one JSON document into v, refusing unknown fields if strict.
func DecodeJSON(b []byte, v any, strict bool) error {
	if !utf8.Valid(b) {
		return fault.New(fault.BadRequest, "the request body is not valid UTF-8")
	}
	if holdsNUL(b) {
		return fault.New(fault.BadRequest, "the request body has a NUL character in a string")
	}
	if overlong(b) {
		return fault.New(fault.BadRequest, "the request body has a string longer than %d bytes", maxString)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if strict {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(v); err != nil {
		return decodeFault(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fault.New(fault.BadRequest, "the request body has text behind its JSON document")
	}
	return nil
}

// maxString is the longest string in a body, in bytes: what a TEXT column of
// MariaDB holds, so that no database takes what another refuses.
const maxString = 1<<16 - 1

// overlong tells whether a JSON document has a string longer than maxString.
func overlong(b []byte) bool {
	if len(b) <= maxString {
		return false
	}
	inside, n := false, 0
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '"':
			inside, n = !inside, 0
			continue
		case inside && b[i] == '\\' && i+1 < len(b) && b[i+1] == 'u':
			i += 5
		case inside && b[i] == '\\':
			i++
		}
		if n++; inside && n > maxString {
			return true
		}
	}
	return false
}

// holdsNUL tells whether a JSON document spells a NUL, which no database can be
// trusted to keep.
func holdsNUL(b []byte) bool {
	const nul = `\u0000`
	for from := 0; ; {
		i := bytes.Index(b[from:], []byte(nul))
		if i < 0 {
			return false
		}
		at := from + i
		before := len(b[:at]) - len(bytes.TrimRight(b[:at], `\`))
		if before%2 == 0 { // else the backslash is itself escaped
			return true
		}
		from = at + len(nul)
	}
}

func decodeFault(err error) error {
	var typ *json.UnmarshalTypeError
	var syn *json.SyntaxError
	switch {
	case fault.As(err) != nil:
		return fault.As(err)
	case errors.As(err, &typ):
		field := typ.Field
		if field == "" {
			field = "the body"
		}
		return fault.New(fault.BadRequest, "invalid input for %s: a %s is not a %s", field, typ.Value, jsonType(typ.Type.Kind().String()))
	case errors.As(err, &syn):
		return fault.New(fault.BadRequest, "malformed request body: %v at byte %d", syn, syn.Offset)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.BadRequest, "malformed request body: the JSON document ends too early")
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fault.New(fault.BadRequest, "additional properties are not allowed (%s was unexpected)", name)
	}
	return fault.New(fault.BadRequest, "malformed request body: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func jsonType(kind string) string {
	switch {
	case kind == "bool":
		return "boolean"
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "whole number"
	case strings.HasPrefix(kind, "float"):
		return "number"
	case kind == "slice", kind == "array":
		return "list"
	case kind == "map", kind == "struct":
		return "object"
	}
	return kind
}

// Nullable is a field of a PATCH body that may be absent, null or a value.
type Nullable[T any] struct {
	Set   bool // the field was in the body
	Null  bool // and it was null
	Value T
}

// UnmarshalJSON tells null from a value; it is not called for absent fields.
func (n *Nullable[T]) UnmarshalJSON(b []byte) error {
	n.Set = true
	if string(b) == "null" {
		n.Null = true
		return nil
	}
	return json.Unmarshal(b, &n.Value)
}

// Bool is a boolean that takes nothing but true and false: not null, not a
// number, not a string (OSSA-2026-007). A nil *Bool is an absent field.
type Bool bool

// UnmarshalJSON accepts the two literals only.
func (v *Bool) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "true":
		*v = true
	case "false":
		*v = false
	default:
		return fault.New(fault.BadRequest, "%s is not a boolean; send true or false", clip(b))
	}
	return nil
}

func clip(b []byte) string {
	if len(b) > 40 {
		return string(b[:40]) + "…"
	}
	return string(b)
}
