package topology

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write examples/topology.schema.json anew")

const schemaFile = "../../examples/topology.schema.json"

func TestSchemaFileIsCurrent(t *testing.T) {
	if *update {
		if err := os.WriteFile(schemaFile, Schema(), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, Schema()) {
		t.Error("examples/topology.schema.json is not what the types say: go test ./internal/topology -update")
	}
}

// places are all keys of the file in the language of the table.
func places(t reflect.Type, p place) []string {
	switch {
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.Slice:
		return places(t.Elem(), p)
	case t.Kind() == reflect.Map:
		return append([]string{p.key + ".*"}, places(t.Elem(), p.name("*"))...)
	case t.Kind() == reflect.Struct:
		var out []string
		for _, f := range reflect.VisibleFields(t) {
			if name := f.Tag.Get("yaml"); name != "" {
				out = append(append(out, p.field(name).key), places(f.Type, p.field(name))...)
			}
		}
		return out
	}
	return nil
}

func TestTableOfKeysIsTheTypes(t *testing.T) {
	table, real := keys(), places(reflect.TypeFor[Topology](), place{})
	for _, p := range real {
		if table[p].doc == "" {
			t.Errorf("%s is not in the table of keys", p)
		}
	}
	for p := range table {
		if !slices.Contains(real, p) {
			t.Errorf("the table of keys has %s, which the types have not", p)
		}
	}
}

func TestHandbookHasEveryKey(t *testing.T) {
	b, err := os.ReadFile("../../doc/ops/topology.md")
	if err != nil {
		t.Fatal(err)
	}
	for p, k := range keys() {
		if strings.HasSuffix(p, "*") {
			continue
		}
		if !strings.Contains(string(b), "`"+p+"`") {
			t.Errorf("doc/ops/topology.md does not tell of `%s`: %s", p, k.doc)
		}
		for _, w := range k.words {
			if w != "" && !strings.Contains(string(b), "`"+w+"`") {
				t.Errorf("doc/ops/topology.md does not tell of the value `%s` of %s", w, p)
			}
		}
	}
}

func TestSchemaTakesTheExamplesAndRefusesMistakes(t *testing.T) {
	schema := compileSchema(t)
	for _, name := range []string{"three.yaml", "small.yaml", "reference-27.yaml"} {
		if !strings.Contains(example(t, name), "# yaml-language-server: $schema=topology.schema.json") {
			t.Errorf("%s does not name its schema to editors", name)
		}
		if err := schema.Validate(asJSON(t, example(t, name))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, change := range [][2]string{{"name: three", "name: Three"}, {"host: 12", "host: 255"}, {"roles: [control,", "roles: [contrl,"},
		{"tunnel:", "tunnels:"}, {"allow_colocation", "allow"}, {"device: bond2, ", ""}, {"memory_mb: 1700", "memory_mb: 1"}} {
		text := strings.Replace(example(t, "three.yaml"), change[0], change[1], 1)
		if schema.Validate(asJSON(t, text)) == nil {
			t.Errorf("the schema takes %q", change[1])
		}
		if _, err := Parse("x.yaml", []byte(text)); err == nil {
			t.Errorf("the parser takes %q", change[1])
		}
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("topology.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("topology.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func asJSON(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}
