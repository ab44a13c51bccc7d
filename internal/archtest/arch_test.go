package archtest

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

// services are the folders of internal that may import the platform and never
// each other.
var services = []string{"keystone", "glance", "placement", "nova", "neutron", "cinder", "swift", "heat", "horizon"}

// wiring knows the services; nothing below it may know wiring. outside drives
// the cloud through its public face and knows no service.
var (
	wiring  = []string{"stack", "cli"}
	outside = []string{"firstday", "bench", "topology", "deploy", "lab", "drill"}
)

// part is the folder of internal that an import path or a file is in.
func part(p string) string {
	p = strings.TrimPrefix(p, module)
	rest, ok := strings.CutPrefix(p, "internal/")
	if !ok {
		return ""
	}
	first, _, _ := strings.Cut(rest, "/")
	return first
}

func TestImportsGoOneWay(t *testing.T) {
	for _, s := range sources(t) {
		from := part(s.path)
		for _, i := range s.imports {
			to := part(i)
			if to == "" || !strings.HasPrefix(i, module) || from == to {
				continue
			}
			switch {
			case slices.Contains(wiring, from) || from == "":
				if to == "cli" && from != "" {
					t.Errorf("%s: %s imports %s", s.path, from, i)
				}
			case slices.Contains(wiring, to):
				t.Errorf("%s: imports %s, which is above it", s.path, i)
			case slices.Contains(services, to) && slices.Contains(services, from):
				t.Errorf("%s: service %s imports service %s; it calls the public API instead", s.path, from, to)
			case slices.Contains(services, to) && slices.Contains(outside, from):
				t.Errorf("%s: imports service %s; it drives the cloud from outside", s.path, to)
			case from == "audit" && slices.Contains(services, to) && path.Base(i) == "rpc":
				// The auditor asks hosts what they have, in their own messages.
			case slices.Contains(services, to):
				t.Errorf("%s: platform package %s imports service %s", s.path, from, to)
			}
		}
	}
}

// sqlHome tells where a file may build queries: in the packages of the
// database, in *_store.go, and in a package's main file (nova/nova.go).
func sqlHome(s *source) bool {
	if slices.ContainsFunc([]string{"internal/db", "internal/operation", "internal/elect", "internal/jobs"}, s.under) {
		return true
	}
	base := path.Base(s.path)
	return s.test || strings.HasSuffix(base, "_store.go") || base == path.Base(s.dir)+".go" || strings.HasSuffix(s.dir, "test")
}

// A service method opens the transaction that its store methods share, and a
// row type embeds the model, so these names of bun may be anywhere.
var bunAnywhere = []string{"Tx", "IDB", "BaseModel"}

var queryMethods = []string{"NewSelect", "NewInsert", "NewUpdate", "NewDelete", "NewRaw", "NewValues",
	"ExecContext", "QueryContext", "QueryRowContext"}

func TestSQLIsInStoreFiles(t *testing.T) {
	for _, s := range sources(t) {
		if sqlHome(s) {
			continue
		}
		for _, i := range s.imports {
			if i == "database/sql" || strings.HasPrefix(i, "github.com/uptrace/bun/") {
				t.Errorf("%s: imports %s; SQL belongs into a *_store.go", s.path, i)
			}
		}
		bun := s.local("github.com/uptrace/bun")
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && bun != "" && x.Name == bun && !slices.Contains(bunAnywhere, sel.Sel.Name) ||
				slices.Contains(queryMethods, sel.Sel.Name) {
				t.Errorf("%s: %s; SQL belongs into a *_store.go", s.at(sel.Pos()), sel.Sel.Name)
			}
			return true
		})
	}
}

// hostSide are the packages that run on hypervisors and network nodes, which
// have no credentials of any database.
var hostSide = []string{"internal/nova/compute", "internal/nova/virt", "internal/nova/metadata",
	"internal/neutron/agent", "internal/neutron/dataplane"}

func TestHostSideHasNoDatabase(t *testing.T) {
	for _, s := range sources(t) {
		for _, dir := range hostSide {
			if !s.under(dir) || s.test {
				continue
			}
			for _, i := range s.imports {
				switch {
				case i == "database/sql", strings.HasPrefix(i, "github.com/uptrace/bun"),
					strings.HasPrefix(i, module+"internal/db"), i == module+"internal/operation", i == module+"internal/elect",
					i == module+"internal/nova", i == module+"internal/neutron":
					t.Errorf("%s: imports %s: nothing on a host has a database", s.path, i)
				}
			}
		}
	}
}

func TestHandlersHoldNoSQL(t *testing.T) {
	for _, s := range sources(t) {
		if !strings.HasSuffix(s.dir, "api") || s.test {
			continue
		}
		for _, i := range s.imports {
			if strings.HasPrefix(i, "github.com/uptrace/bun") || i == module+"internal/db" || i == "database/sql" {
				t.Errorf("%s: imports %s: a handler calls one service method", s.path, i)
			}
		}
	}
}

// banned names of packages, and where they are allowed.
var banned = []struct {
	pkg     string
	names   []string
	allowed func(s *source) bool
	instead string
}{
	{"time", []string{"Now", "Since"}, func(s *source) bool { return s.test || s.under("internal/clock") || inTests(s) },
		"take a clock.Clock"},
	{"context", []string{"TODO"}, func(*source) bool { return false }, "pass the caller's context"},
	{"context", []string{"Background"}, func(s *source) bool {
		return s.test || s.under("internal/cli") || s.under("cmd") || inTests(s)
	}, "pass the caller's context, or context.WithoutCancel and a deadline"},
	{"fmt", []string{"Print", "Printf", "Println"}, func(s *source) bool { return s.under("internal/cli") || s.under("cmd") || inTests(s) },
		"log, or return it"},
	{"net/http", []string{"DefaultServeMux", "HandleFunc", "Handle", "ListenAndServe"}, func(*source) bool { return false },
		"make a mux and a server"},
	{"log", []string{"Print", "Printf", "Println", "Fatal", "Fatalf", "Panic"}, func(*source) bool { return false }, "use slog"},
}

// inTests tells whether a file only serves tests: a …test package, or test/.
func inTests(s *source) bool { return strings.HasSuffix(s.dir, "test") || s.under("test") }

func TestBannedNamesAreNotUsed(t *testing.T) {
	for _, s := range sources(t) {
		for _, b := range banned {
			if b.allowed(s) {
				continue
			}
			s.uses(b.pkg, b.names, func(name string, at token.Pos) {
				t.Errorf("%s: %s.%s: %s", s.at(at), path.Base(b.pkg), name, b.instead)
			})
		}
	}
}

// longFiles may be longer than 400 lines (tests 700), each for its reason.
var longFiles = map[string]string{}

func TestFilesAndFunctionsAreShort(t *testing.T) {
	for _, s := range sources(t) {
		limit := 400
		if s.test || inTests(s) {
			limit = 700
		}
		if s.lines > limit && longFiles[s.path] == "" {
			t.Errorf("%s: %d lines, at most %d", s.path, s.lines, limit)
		}
		if s.test || inTests(s) {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			if n := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1; n > 60 {
				t.Errorf("%s: func %s has %d lines, at most 60", s.at(f.Pos()), f.Name.Name, n)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	said := map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		said[s.dir] = said[s.dir] || s.file.Doc != nil && len(s.file.Doc.Text()) > 20
		for _, bad := range []string{"util", "utils", "common", "base", "misc", "types", "helpers"} {
			if path.Base(s.dir) == bad {
				t.Errorf("%s: a package named %s has no subject", s.path, bad)
			}
		}
	}
	for dir, ok := range said {
		if !ok {
			t.Errorf("%s: no package comment", dir)
		}
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
					t.Errorf("%s: func %s has no comment", s.at(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				checkSpecs(t, s, d)
			}
		}
	}
}

// exportedReceiver is true of functions and of methods of exported types whose
// meaning is not given by an interface of the language.
func exportedReceiver(d *ast.FuncDecl) bool {
	switch d.Name.Name {
	case "Error", "String", "GoString", "LogValue", "Unwrap", "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText", "Close", "Read", "Write":
		return d.Recv == nil
	}
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if index, ok := typ.(*ast.IndexExpr); ok {
		typ = index.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

func checkSpecs(t *testing.T, s *source, d *ast.GenDecl) {
	t.Helper()
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil {
				t.Errorf("%s: type %s has no comment", s.at(spec.Pos()), spec.Name.Name)
			}
		case *ast.ValueSpec:
			if d.Doc != nil || spec.Doc != nil || spec.Comment != nil {
				continue // one comment for the group is enough
			}
			for _, n := range spec.Names {
				if n.IsExported() {
					t.Errorf("%s: %s has no comment", s.at(n.Pos()), n.Name)
				}
			}
		}
	}
}

// TestPublishedSamplesAreNamedByTheEnvironmentOnly keeps a clone complete: where
// the published samples lie, HASTACK_API_SAMPLES says.
func TestPublishedSamplesAreNamedByTheEnvironmentOnly(t *testing.T) {
	for _, s := range sources(t) {
		if s.under("internal/archtest") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && strings.Contains(lit.Value, "/api-samples") {
				t.Errorf("%s: names a folder outside of the repository", s.at(lit.Pos()))
			}
			return true
		})
	}
}

// TestTheRulesFindTheirViolations holds the checks themselves against a file
// that breaks some of them.
func TestTheRulesFindTheirViolations(t *testing.T) {
	s, err := read("testdata/bad.go", "internal/nova/compute/bad.go")
	if err != nil {
		t.Fatal(err)
	}
	if !s.under("internal/nova/compute") || s.under("internal/nova/comp") || sqlHome(s) {
		t.Error("the file is not placed where it is")
	}
	var found []string
	for _, b := range banned {
		s.uses(b.pkg, b.names, func(name string, _ token.Pos) { found = append(found, name) })
	}
	if want := []string{"Now", "TODO", "Println"}; !slices.Equal(found, want) {
		t.Errorf("found %v, want %v", found, want)
	}
	if part(module+"internal/nova/compute") != "nova" || part("fmt") != "" {
		t.Error("part of an import path")
	}
}
