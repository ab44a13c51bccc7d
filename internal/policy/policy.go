// Package policy decides who may do what, in the rule language of oslo.policy.
//
// A service registers its rules with their published names and defaults; an
// operator may override the check of any of them. Everything not registered is
// denied. The language: role:, rule:, is_admin:, field:, attributes of the
// caller (user_id:, project_id:, system_scope:, ...) compared with text,
// %(target.attribute)s or constants, joined by and, or, not and parentheses;
// @ and the empty rule always pass, ! never does. Checks that ask another
// server (http:) and the list-of-lists form are refused when the rules are
// loaded. Read [Enforcer] first, then parse.go and check.go.
package policy

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/hastack/hastack/internal/fault"
)

// Target is what a request acts on: attributes by name, either flat
// ("target.user.id") or nested maps. A missing attribute never matches.
type Target map[string]any

// Credentials is what the rules may know of the caller. Exactly one of
// ProjectID, DomainID and SystemScope is set, none for an unscoped token.
type Credentials struct {
	UserID, ProjectID, DomainID, SystemScope string
	UserDomainID, ProjectDomainID            string
	Roles                                    []string
	ServiceRoles                             []string
}

// Operation is one route a rule guards, for documentation and the persona
// matrix. It takes no part in a decision.
type Operation struct{ Method, Path string }

// A Rule is a published name with its default check. Scopes limits the tokens
// that may pass ("system", "domain", "project"); empty means any.
type Rule struct {
	Name, Check, Description string
	Scopes                   []string
	Operations               []Operation
}

// An Enforcer holds the compiled rules of one service. It does not change
// after New and is safe for concurrent use.
type Enforcer struct {
	rules map[string]*compiled
	names []string
}

type compiled struct {
	rule  Rule
	check Check
}

// New compiles the rules with the overrides of the operator applied. It
// refuses rules that do not parse, refer to rules that do not exist, refer to
// each other in a circle, or are registered twice. An override may also add a
// name, which other overrides can then refer to.
func New(rules []Rule, overrides map[string]string) (*Enforcer, error) {
	e := &Enforcer{rules: make(map[string]*compiled, len(rules)+len(overrides))}
	for _, r := range rules {
		if _, twice := e.rules[r.Name]; twice {
			return nil, fmt.Errorf("policy rule %q is registered twice", r.Name)
		}
		e.rules[r.Name] = &compiled{rule: r}
		e.names = append(e.names, r.Name)
	}
	for name, check := range overrides {
		c := e.rules[name]
		if c == nil {
			c = &compiled{rule: Rule{Name: name}}
			e.rules[name] = c
			e.names = append(e.names, name)
		}
		c.rule.Check = check
	}
	slices.Sort(e.names)
	for _, name := range e.names {
		c := e.rules[name]
		check, err := Parse(c.rule.Check)
		if err != nil {
			return nil, fmt.Errorf("policy rule %q: %w", name, err)
		}
		c.check = check
	}
	return e, e.link()
}

// ParseOverrides reads an operator's policy file: a YAML map from rule name to
// check. The older list form of a check is refused.
func ParseOverrides(data []byte) (map[string]string, error) {
	out := map[string]string{}
	if err := yaml.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("policy file: %w", err)
	}
	return out, nil
}

// Enforce returns a Forbidden fault unless the rule lets the caller act on t.
// A rule that does not exist lets nobody.
func (e *Enforcer) Enforce(name string, c Credentials, t Target) error {
	if e.Allowed(name, c, t) {
		return nil
	}
	return fault.New(fault.Forbidden, "policy does not allow %s to be performed", name)
}

// Allowed tells whether the rule lets the caller act on t.
func (e *Enforcer) Allowed(name string, c Credentials, t Target) bool {
	r := e.rules[name]
	if r == nil {
		return false
	}
	if len(r.rule.Scopes) > 0 && !slices.Contains(r.rule.Scopes, c.scope()) {
		return false
	}
	return r.check.eval(&evaluation{rules: e.rules, creds: &c, target: t})
}

// Names lists every rule in order.
func (e *Enforcer) Names() []string { return slices.Clone(e.names) }

// Rule returns the rule of that name with its override applied.
func (e *Enforcer) Rule(name string) (Rule, bool) {
	c := e.rules[name]
	if c == nil {
		return Rule{}, false
	}
	return c.rule, true
}

// scope names the kind of token as scope types do. oslo.policy counts an
// unscoped token as a project one; its rules then fail on the missing roles.
func (c *Credentials) scope() string {
	switch {
	case c.SystemScope != "":
		return "system"
	case c.DomainID != "":
		return "domain"
	}
	return "project"
}

// link resolves rule references and refuses circles, which would otherwise
// recurse without end at the first request.
func (e *Enforcer) link() error {
	const (
		visiting = 1
		done     = 2
	)
	state := map[string]int{}
	var visit func(name string, path []string) error
	visit = func(name string, path []string) error {
		path = append(path, name)
		switch state[name] {
		case visiting:
			return fmt.Errorf("policy rules refer to each other in a circle: %v", path)
		case done:
			return nil
		}
		c := e.rules[name]
		if c == nil {
			if name == adminRule { // is_admin without that rule is merely false
				return nil
			}
			return fmt.Errorf("policy rule %q refers to %q, which does not exist", path[max(0, len(path)-2)], name)
		}
		state[name] = visiting
		for _, ref := range references(c.check, nil) {
			if err := visit(ref, path); err != nil {
				return err
			}
		}
		state[name] = done
		return nil
	}
	for _, name := range e.names {
		if err := visit(name, nil); err != nil {
			return err
		}
	}
	return nil
}
