package topology

import (
	"encoding/json"
	"net/netip"
	"reflect"
)

// Schema is the JSON schema of the file, for editors. It comes from the types
// and the table of keys, so it cannot tell another story than [Load].
func Schema() []byte {
	s := schemaOf(reflect.TypeFor[Topology](), place{}, keys())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Hastack topology"
	s["description"] = "A cluster: its servers and their roles, networks, switches and virtual addresses."
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil { // maps of strings and numbers
		panic(err)
	}
	return append(b, '\n')
}

type object = map[string]any

func schemaOf(t reflect.Type, p place, keys map[string]key) object {
	k := keys[p.key]
	out := object{}
	if k.doc != "" {
		out["description"] = k.doc
	}
	switch {
	case t == reflect.TypeFor[netip.Prefix]():
		out["type"], out["pattern"] = "string", `^[0-9.]+/[0-9]+$`
	case t == reflect.TypeFor[netip.Addr]():
		out["type"], out["format"] = "string", "ipv4"
	case t.Kind() == reflect.Pointer:
		return schemaOf(t.Elem(), p, keys)
	case t.Kind() == reflect.Struct:
		structSchema(out, t, p, keys)
	case t.Kind() == reflect.Map:
		mapSchema(out, t, p, keys)
	case t.Kind() == reflect.Slice:
		out["type"] = "array"
		elem := schemaOf(t.Elem(), p, keys)
		delete(elem, "description") // the list has it
		out["items"] = elem
	default:
		scalarSchema(out, t, k)
	}
	return out
}

func structSchema(out object, t reflect.Type, p place, keys map[string]key) {
	out["type"], out["additionalProperties"] = "object", false
	properties, required := object{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		name := f.Tag.Get("yaml")
		if name == "" || !f.IsExported() {
			continue
		}
		properties[name] = schemaOf(f.Type, p.field(name), keys)
		if keys[p.field(name).key].required {
			required = append(required, name)
		}
	}
	out["properties"] = properties
	if len(required) > 0 {
		out["required"] = required
	}
}

func mapSchema(out object, t reflect.Type, p place, keys map[string]key) {
	out["type"] = "object"
	value := schemaOf(t.Elem(), p.name("*"), keys)
	words := keys[p.key].words
	if words == nil {
		out["additionalProperties"] = value
		return
	}
	properties := object{}
	for _, w := range words {
		properties[w] = value
	}
	out["properties"], out["additionalProperties"] = properties, false
}

func scalarSchema(out object, t reflect.Type, k key) {
	switch t.Kind() {
	case reflect.Int:
		out["type"] = "integer"
	case reflect.Float64:
		out["type"] = "number"
	case reflect.Bool:
		out["type"] = "boolean"
	default:
		out["type"] = "string"
	}
	if k.words != nil {
		out["enum"] = k.words
	}
	if k.pattern != "" {
		out["pattern"] = k.pattern
	}
	if k.max != 0 {
		out["minimum"], out["maximum"] = k.min, k.max
	}
}
