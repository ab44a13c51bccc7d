package topology

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of what a file may be; a topology is far below them.
const (
	maxBytes = 1 << 20
	maxNodes = 100_000
	maxDepth = 16
)

// reader fills a Topology from YAML nodes. It goes node by node where the
// library would go at once, because the library stops at the first value that
// does not parse and names no line for it.
type reader struct {
	file     string
	problems Problems
	warnings []Problem
	lines    map[string]int // by place: "servers[2].roles[0]"
	keys     map[string]key
	nodes    int
}

func (r *reader) problem(line int, format string, args ...any) {
	r.problems.List = append(r.problems.List, Problem{File: r.file, Line: line, Text: fmt.Sprintf(format, args...)})
}

// line is where a place is in the file, or where the nearest place around it is.
func (r *reader) line(place string) int {
	for place != "" {
		if n, ok := r.lines[place]; ok {
			return n
		}
		i := strings.LastIndexAny(place, ".[")
		if i < 0 {
			break
		}
		place = place[:i]
	}
	return 0
}

// at reports a problem of a place.
func (r *reader) at(place, format string, args ...any) {
	r.problem(r.line(place), format, args...)
}

func (r *reader) warn(place, format string, args ...any) {
	r.warnings = append(r.warnings, Problem{File: r.file, Line: r.line(place), Text: fmt.Sprintf(format, args...)})
}

// place is where a value is: in this file, and in the language of the table of
// keys, which knows no index and calls every name of a map "*".
type place struct{ file, key string }

func (p place) field(name string) place {
	return place{strings.TrimPrefix(p.file+"."+name, "."), strings.TrimPrefix(p.key+"."+name, ".")}
}

func (p place) item(i int) place { return place{fmt.Sprintf("%s[%d]", p.file, i), p.key} }

func (p place) name(name string) place { return place{p.file + "." + name, p.key + ".*"} }

// read fills v from n.
func (r *reader) read(n *yaml.Node, v reflect.Value, p place, depth int) {
	if r.nodes++; r.nodes > maxNodes || depth > maxDepth {
		if r.nodes < maxNodes*2 { // say it once
			r.nodes = maxNodes * 2
			r.problem(n.Line, "the file is nested too deeply or repeats itself too often: write it without aliases")
		}
		return
	}
	if n.Kind == yaml.AliasNode {
		r.read(n.Alias, v, p, depth+1)
		return
	}
	if p.file != "" && r.lines[p.file] == 0 {
		r.lines[p.file] = n.Line
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	switch {
	case v.Type() == reflect.TypeFor[netip.Prefix](), v.Type() == reflect.TypeFor[netip.Addr]():
		r.readAddress(n, v, p)
	case v.Kind() == reflect.Struct:
		r.readStruct(n, v, p, depth)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.read(n, v.Elem(), p, depth)
	case v.Kind() == reflect.Map:
		r.readMap(n, v, p, depth)
	case v.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			r.problem(n.Line, "%s is %s: make it a list, [a, b] or lines that begin with a dash", p.file, kindOf(n))
			return
		}
		for i, item := range n.Content {
			v.Set(reflect.Append(v, reflect.New(v.Type().Elem()).Elem()))
			r.read(item, v.Index(i), p.item(i), depth+1)
			if e := v.Index(i); e.Kind() == reflect.Pointer && e.IsNil() {
				r.problem(item.Line, "%s is empty: fill it in or remove it", p.item(i).file)
				e.Set(reflect.New(e.Type().Elem()))
			}
		}
	default:
		r.readScalar(n, v, p)
	}
}

func (r *reader) readStruct(n *yaml.Node, v reflect.Value, p place, depth int) {
	if n.Kind != yaml.MappingNode {
		r.problem(n.Line, "%s is %s: give it keys and values, %s", orFile(p.file), kindOf(n), strings.Join(keysOf(v.Type()), ", "))
		return
	}
	seen := map[string]bool{}
	r.pairs(n, p, depth, func(k, val *yaml.Node) {
		i := slices.IndexFunc(reflect.VisibleFields(v.Type()), func(f reflect.StructField) bool {
			return f.IsExported() && f.Tag.Get("yaml") == k.Value
		})
		if i < 0 {
			r.problem(k.Line, "%s has no key %q: %s", orFile(p.file), k.Value, nearest(k.Value, keysOf(v.Type())))
			return
		}
		to := p.field(k.Value)
		r.lines[to.file] = k.Line
		seen[k.Value] = val.Tag != "!!null"
		r.read(val, v.Field(i), to, depth+1)
	})
	for _, name := range keysOf(v.Type()) {
		if k := r.keys[p.field(name).key]; k.required && !seen[name] {
			r.problem(n.Line, "%s has no %s: give it %s", orFile(p.file), name, k.doc)
		}
	}
}

func (r *reader) readMap(n *yaml.Node, v reflect.Value, p place, depth int) {
	if n.Kind != yaml.MappingNode {
		r.problem(n.Line, "%s is %s: give each a name, \"name: {...}\"", p.file, kindOf(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	r.pairs(n, p, depth, func(k, val *yaml.Node) {
		to := p.name(k.Value)
		r.lines[to.file] = k.Line
		if words := r.keys[p.key].words; len(words) > 0 && !slices.Contains(words, k.Value) {
			r.problem(k.Line, "%s has no %q: %s", p.file, k.Value, nearest(k.Value, words))
			return
		}
		if val.Tag == "!!null" {
			r.problem(k.Line, "%s is empty: fill it in or remove it", to.file)
		}
		elem := reflect.New(v.Type().Elem()).Elem()
		elem.Set(reflect.New(v.Type().Elem().Elem())) // every map of the file is of pointers
		r.read(val, elem.Elem(), to, depth+1)
		v.SetMapIndex(reflect.ValueOf(k.Value), elem)
	})
}

// pairs calls each for the keys and values of a mapping, those merged with
// "<<" first, so that the mapping's own win.
func (r *reader) pairs(n *yaml.Node, p place, depth int, each func(k, v *yaml.Node)) {
	if r.nodes++; r.nodes > maxNodes || depth > maxDepth {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			continue
		}
		from := n.Content[i+1]
		if from.Kind == yaml.AliasNode {
			from = from.Alias
		}
		if from.Kind != yaml.MappingNode {
			r.problem(from.Line, "%s merges %s: merge one anchored mapping", orFile(p.file), kindOf(from))
			continue
		}
		r.pairs(from, p, depth+1, each)
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		switch {
		case k.Tag == "!!merge":
		case k.Kind != yaml.ScalarNode:
			r.problem(k.Line, "a key of %s is %s: make it a word", orFile(p.file), kindOf(k))
		case seen[k.Value] != 0:
			r.problem(k.Line, "%s has %q already on line %d: remove one", orFile(p.file), k.Value, seen[k.Value])
		default:
			seen[k.Value] = k.Line
			each(k, n.Content[i+1])
		}
	}
}

func (r *reader) readAddress(n *yaml.Node, v reflect.Value, p place) {
	if v.Type() == reflect.TypeFor[netip.Prefix]() {
		x, err := netip.ParsePrefix(n.Value)
		if err != nil || n.Kind != yaml.ScalarNode {
			r.problem(n.Line, "%s %q is no network: write it as 10.3.0.0/24", p.file, n.Value)
			return
		}
		v.Set(reflect.ValueOf(x))
		return
	}
	x, err := netip.ParseAddr(n.Value)
	if err != nil || n.Kind != yaml.ScalarNode || !x.Is4() {
		r.problem(n.Line, "%s %q is no IPv4 address: write it as 10.3.0.100", p.file, n.Value)
		return
	}
	v.Set(reflect.ValueOf(x))
}

func (r *reader) readScalar(n *yaml.Node, v reflect.Value, p place) {
	if n.Kind != yaml.ScalarNode {
		r.problem(n.Line, "%s is %s: give it one value", p.file, kindOf(n))
		return
	}
	var err error
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Value)
	case reflect.Int:
		var x int
		if x, err = strconv.Atoi(n.Value); err != nil {
			r.problem(n.Line, "%s is %q: give it a whole number", p.file, n.Value)
			return
		}
		v.SetInt(int64(x))
	case reflect.Float64:
		var x float64
		if x, err = strconv.ParseFloat(n.Value, 64); err != nil || x != x {
			r.problem(n.Line, "%s is %q: give it a number", p.file, n.Value)
			return
		}
		v.SetFloat(x)
	case reflect.Bool:
		var x bool
		if err = n.Decode(&x); err != nil {
			r.problem(n.Line, "%s is %q: say true or false", p.file, n.Value)
			return
		}
		v.SetBool(x)
	default:
		r.problem(n.Line, "%s cannot be read", p.file)
		return
	}
	r.checkKey(n, v, p)
}

// checkKey holds a value against the table of keys.
func (r *reader) checkKey(n *yaml.Node, v reflect.Value, p place) {
	k := r.keys[p.key]
	switch v.Kind() {
	case reflect.String:
		if len(k.words) > 0 && !slices.Contains(k.words, v.String()) {
			r.problem(n.Line, "%s %q is unknown: %s", p.file, v.String(), nearest(v.String(), k.words))
		}
		if k.pattern != "" && !regexp.MustCompile(k.pattern).MatchString(v.String()) {
			r.problem(n.Line, "%s %q cannot be: %s", p.file, v.String(), k.shape)
		}
	case reflect.Int:
		if x := v.Int(); k.max != 0 && (x < int64(k.min) || x > int64(k.max)) {
			r.problem(n.Line, "%s is %d: give it a number from %d to %d", p.file, x, k.min, k.max)
		}
	case reflect.Float64:
		if x := v.Float(); k.max != 0 && (x < float64(k.min) || x > float64(k.max)) {
			r.problem(n.Line, "%s is %v: give it a number from %d to %d", p.file, x, k.min, k.max)
		}
	}
}

// keysOf are the keys that a struct has in the file, in the struct's order.
func keysOf(t reflect.Type) []string {
	var out []string
	for _, f := range reflect.VisibleFields(t) {
		if name := f.Tag.Get("yaml"); name != "" && f.IsExported() {
			out = append(out, name)
		}
	}
	return out
}

func orFile(place string) string {
	if place == "" {
		return "the file"
	}
	return place
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return strconv.Quote(n.Value)
}

// parseNode is the file's one document.
func parseNode(b []byte) (*yaml.Node, int, error) {
	if len(b) > maxBytes {
		return nil, 0, fmt.Errorf("the file has %d bytes: a topology has at most %d", len(b), maxBytes)
	}
	dec := yaml.NewDecoder(strings.NewReader(string(b)))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		line, text := 0, strings.TrimPrefix(err.Error(), "yaml: ")
		if m := regexp.MustCompile(`^line (\d+): (.*)`).FindStringSubmatch(text); m != nil {
			line, _ = strconv.Atoi(m[1])
			text = m[2]
		}
		if text == "EOF" {
			text = "the file is empty: start from one in examples/"
		}
		return nil, line, errors.New(text)
	}
	var second yaml.Node
	if dec.Decode(&second) == nil {
		return nil, second.Line, errors.New("a second document begins: one file describes one cluster")
	}
	return doc.Content[0], 0, nil
}
