package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Check is a parsed rule. Its String parses to an equal Check again.
type Check interface {
	fmt.Stringer
	eval(*evaluation) bool
}

// adminRule is the rule that is_admin:True stands for, as in Nova and Neutron.
const adminRule = "context_is_admin"

// evaluation is one question put to the rules.
type evaluation struct {
	rules  map[string]*compiled
	creds  *Credentials
	target Target
}

type (
	constant bool
	and      []Check
	or       []Check
	not      struct{ of Check }
	ruleRef  string
	role     struct{ name template }
	// attribute compares an attribute of the caller, or a constant, with text.
	attribute struct {
		kind  string
		match template
	}
	// field compares an attribute of the target with a value or, after "~", a
	// regular expression: Neutron's "field:networks:shared=True".
	field struct {
		text, name, value string
		pattern           *regexp.Regexp
	}
)

func (c constant) eval(*evaluation) bool { return bool(c) }

func (c and) eval(e *evaluation) bool {
	for _, x := range c {
		if !x.eval(e) {
			return false
		}
	}
	return true
}

func (c or) eval(e *evaluation) bool {
	for _, x := range c {
		if x.eval(e) {
			return true
		}
	}
	return false
}

func (c not) eval(e *evaluation) bool { return !c.of.eval(e) }

func (c ruleRef) eval(e *evaluation) bool {
	r := e.rules[string(c)]
	return r != nil && r.check.eval(e)
}

// Roles are compared without case, as Keystone treats role names.
func (c role) eval(e *evaluation) bool {
	want, ok := c.name.expand(e.target)
	return ok && want != "" && slices.ContainsFunc(e.creds.Roles, func(have string) bool {
		return strings.EqualFold(have, want)
	})
}

func (c attribute) eval(e *evaluation) bool {
	want, ok := c.match.expand(e.target)
	if !ok {
		return false
	}
	if value, ok := literal(c.kind); ok {
		return value == want
	}
	switch c.kind {
	case "is_admin":
		return e.isAdmin() == truth(want)
	case "roles", "token.roles":
		return slices.Contains(e.creds.Roles, want)
	case "service_roles":
		return slices.Contains(e.creds.ServiceRoles, want)
	}
	// An attribute the caller does not have must not match a target that lacks
	// it too: the absence of a project is not a project two parties share.
	have := e.creds.attribute(c.kind)
	return have != "" && have == want
}

func (c field) eval(e *evaluation) bool {
	v, ok := e.target.lookup(c.name)
	if !ok {
		return false
	}
	have := text(v)
	if c.pattern != nil {
		return c.pattern.MatchString(have)
	}
	return have == c.value
}

func (e *evaluation) isAdmin() bool {
	r := e.rules[adminRule]
	return r != nil && r.check.eval(e)
}

func truth(s string) bool { return s == "1" || strings.EqualFold(s, "true") }

// literal is the value of a constant on the left of a check: 'text', "text",
// a number, True, False or None. Anything else names an attribute.
func literal(kind string) (string, bool) {
	switch kind {
	case "None", "True", "False":
		return kind, true
	}
	if n := len(kind); n >= 2 && (kind[0] == '\'' || kind[0] == '"') && kind[n-1] == kind[0] {
		return kind[1 : n-1], true
	}
	if _, err := strconv.ParseFloat(kind, 64); err == nil && kind[0] != 'n' && kind[0] != 'N' && kind[0] != 'i' && kind[0] != 'I' {
		return kind, true
	}
	return "", false
}

func (c *Credentials) attribute(kind string) string {
	switch kind {
	case "user_id", "user", "token.user.id":
		return c.UserID
	case "project_id", "tenant_id", "tenant", "token.project.id":
		return c.ProjectID
	case "domain_id", "token.domain.id":
		return c.DomainID
	case "system_scope":
		return c.SystemScope
	case "user_domain_id", "token.user.domain.id":
		return c.UserDomainID
	case "project_domain_id", "token.project.domain.id":
		return c.ProjectDomainID
	}
	return ""
}

func (c constant) String() string {
	if c {
		return "@"
	}
	return "!"
}

func (c and) String() string       { return join(c, " and ") }
func (c or) String() string        { return join(c, " or ") }
func (c ruleRef) String() string   { return "rule:" + string(c) }
func (c role) String() string      { return "role:" + c.name.text }
func (c attribute) String() string { return c.kind + ":" + c.match.text }
func (c field) String() string     { return "field:" + c.text }

func (c not) String() string {
	switch c.of.(type) {
	case and, or:
		return "not (" + c.of.String() + ")"
	}
	return "not " + c.of.String()
}

func join(checks []Check, word string) string {
	parts := make([]string, len(checks))
	for i, c := range checks {
		parts[i] = c.String()
		switch c.(type) {
		case and, or:
			parts[i] = "(" + parts[i] + ")"
		}
	}
	return strings.Join(parts, word)
}

// references appends the names of the rules that c asks.
func references(c Check, to []string) []string {
	switch c := c.(type) {
	case and:
		for _, x := range c {
			to = references(x, to)
		}
	case or:
		for _, x := range c {
			to = references(x, to)
		}
	case not:
		to = references(c.of, to)
	case ruleRef:
		to = append(to, string(c))
	case attribute:
		if c.kind == "is_admin" {
			to = append(to, adminRule)
		}
	}
	return to
}
