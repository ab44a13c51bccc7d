package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// maxDepth bounds nesting, so that a hostile rule cannot exhaust the stack.
const maxDepth = 100

// Parse reads one check. The empty text is the check that always passes.
func Parse(s string) (Check, error) {
	p := parser{tokens: tokenize(s)}
	if len(p.tokens) == 0 {
		return constant(true), nil
	}
	c, err := p.or()
	if err != nil {
		return nil, err
	}
	if tok := p.peek(); tok != "" {
		return nil, fmt.Errorf("unexpected %q in %q", tok, s)
	}
	return c, nil
}

// tokenize splits at white space; parentheses count only at the edges of a
// word, because %(name)s has them inside.
func tokenize(s string) []string {
	var out []string
	for word := range strings.FieldsSeq(s) {
		for strings.HasPrefix(word, "(") {
			out = append(out, "(")
			word = word[1:]
		}
		clean := strings.TrimRight(word, ")")
		if clean != "" {
			out = append(out, clean)
		}
		for range len(word) - len(clean) {
			out = append(out, ")")
		}
	}
	return out
}

// parser is a recursive descent: or < and < not < atom.
type parser struct {
	tokens []string
	depth  int
}

func (p *parser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *parser) next() string {
	tok := p.peek()
	if tok != "" {
		p.tokens = p.tokens[1:]
	}
	return tok
}

func (p *parser) or() (Check, error) {
	list, err := p.list("or", p.and)
	if err != nil || len(list) == 1 {
		return first(list), err
	}
	return or(list), nil
}

func (p *parser) and() (Check, error) {
	list, err := p.list("and", p.not)
	if err != nil || len(list) == 1 {
		return first(list), err
	}
	return and(list), nil
}

func first(list []Check) Check {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

func (p *parser) list(word string, operand func() (Check, error)) ([]Check, error) {
	var list []Check
	for {
		c, err := operand()
		if err != nil {
			return nil, err
		}
		list = append(list, c)
		if !strings.EqualFold(p.peek(), word) {
			return list, nil
		}
		p.next()
	}
}

func (p *parser) not() (Check, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	defer func() { p.depth-- }()
	if strings.EqualFold(p.peek(), "not") {
		p.next()
		c, err := p.not()
		return not{c}, err
	}
	if p.peek() == "(" {
		p.next()
		c, err := p.or()
		if err != nil {
			return nil, err
		}
		if p.next() != ")" {
			return nil, errors.New("missing )")
		}
		return c, nil
	}
	return atom(p.next())
}

func atom(tok string) (Check, error) {
	switch strings.ToLower(tok) {
	case "":
		return nil, errors.New("ends where a check is expected")
	case "@":
		return constant(true), nil
	case "!":
		return constant(false), nil
	case ")", "and", "or":
		return nil, fmt.Errorf("%q where a check is expected", tok)
	}
	kind, match, ok := strings.Cut(tok, ":")
	if !ok || kind == "" {
		return nil, fmt.Errorf("check %q is not of the form kind:match", tok)
	}
	switch kind {
	case "http", "https", "remote":
		return nil, fmt.Errorf("check %q: checks on another server are not supported", tok)
	case "rule":
		return ruleRef(match), nil
	case "field":
		return newField(match)
	}
	t, err := newTemplate(match)
	if err != nil {
		return nil, err
	}
	if kind == "role" {
		return role{t}, nil
	}
	return attribute{kind, t}, nil
}

func newField(s string) (Check, error) {
	_, expr, ok := strings.Cut(s, ":")
	name, value, ok2 := strings.Cut(expr, "=")
	if !ok || !ok2 || name == "" {
		return nil, fmt.Errorf("field:%s is not of the form field:resource:name=value", s)
	}
	f := field{text: s, name: name, value: value}
	if pattern, ok := strings.CutPrefix(value, "~"); ok {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("field:%s: %w", s, err)
		}
		f.pattern = re
	}
	return f, nil
}
