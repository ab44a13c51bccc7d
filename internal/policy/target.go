package policy

import (
	"fmt"
	"strings"
)

// A template is the right side of a check: text with %(name)s in it.
type template struct {
	text  string
	parts []part
}

// part is literal text or, if key, the name of a target attribute.
type part struct {
	text string
	key  bool
}

func newTemplate(s string) (template, error) {
	t := template{text: s}
	for rest := s; rest != ""; {
		i := strings.Index(rest, "%")
		if i < 0 {
			t.parts = append(t.parts, part{text: rest})
			break
		}
		if i > 0 {
			t.parts = append(t.parts, part{text: rest[:i]})
		}
		rest = rest[i:]
		if strings.HasPrefix(rest, "%%") {
			t.parts = append(t.parts, part{text: "%"})
			rest = rest[2:]
			continue
		}
		end := strings.Index(rest, ")s")
		if !strings.HasPrefix(rest, "%(") || end < 3 {
			return t, fmt.Errorf("%q: expected %%(name)s", s)
		}
		t.parts = append(t.parts, part{text: rest[2:end], key: true})
		rest = rest[end+2:]
	}
	return t, nil
}

// expand fills in the attributes of the target; false if one is missing.
func (t template) expand(target Target) (string, bool) {
	if len(t.parts) == 1 && !t.parts[0].key {
		return t.parts[0].text, true
	}
	var b strings.Builder
	for _, p := range t.parts {
		if !p.key {
			b.WriteString(p.text)
			continue
		}
		v, ok := target.lookup(p.text)
		if !ok {
			return "", false
		}
		if len(t.parts) == 1 {
			return text(v), true
		}
		b.WriteString(text(v))
	}
	return b.String(), true
}

// lookup finds an attribute by its flat name or by walking nested maps.
func (t Target) lookup(name string) (any, bool) {
	if v, ok := t[name]; ok {
		return v, true
	}
	var at any = map[string]any(t)
	for {
		word, rest, more := strings.Cut(name, ".")
		var (
			v  any
			ok bool
		)
		switch m := at.(type) {
		case map[string]any:
			v, ok = m[word]
		case Target:
			v, ok = m[word]
		case map[string]string:
			v, ok = m[word]
		}
		if !ok || !more {
			return v, ok
		}
		at, name = v, rest
	}
}

// text writes a value as Python's str does, which is what rules are written
// against: None, True and False.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case string:
		return v
	case *string:
		if v == nil {
			return "None"
		}
		return *v
	case bool:
		if v {
			return "True"
		}
		return "False"
	}
	return fmt.Sprint(v)
}
