package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/hastack/hastack/"

// A source is one Go file of the repository.
type source struct {
	path    string // from the repository's root, with slashes
	dir     string
	test    bool
	lines   int
	file    *ast.File
	set     *token.FileSet
	imports []string
}

// at is a place in the file for a message.
func (s *source) at(p token.Pos) string {
	return s.path + ":" + strconv.Itoa(s.set.Position(p).Line)
}

// under tells whether the file is in the directory or below it.
func (s *source) under(dir string) bool {
	return s.dir == dir || strings.HasPrefix(s.dir, dir+"/")
}

// sources reads every Go file of the repository.
func sources(t *testing.T) []*source {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var list []*source
	err = filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(p, root+"/"))
		if e.IsDir() {
			if n := e.Name(); n == "testdata" || n == "bin" || strings.HasPrefix(n, ".") && p != root {
				return filepath.SkipDir
			}
			return nil
		}
		if path.Ext(rel) != ".go" || strings.HasSuffix(rel, "_gen.go") {
			return nil
		}
		s, err := read(p, rel)
		if err == nil {
			list = append(list, s)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 10 {
		t.Fatalf("only %d files found under %s", len(list), root)
	}
	return list
}

func read(p, rel string) (*source, error) {
	body, err := os.ReadFile(p)
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, rel, body, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	s := &source{path: rel, dir: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go"),
		lines: bytes.Count(body, []byte("\n")), file: f, set: set}
	for _, i := range f.Imports {
		name, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return nil, err
		}
		s.imports = append(s.imports, name)
	}
	return s, nil
}

// local is the name under which a file uses an import, "" if it does not.
func (s *source) local(pkg string) string {
	for _, i := range s.file.Imports {
		if i.Path.Value != strconv.Quote(pkg) {
			continue
		}
		if i.Name != nil {
			return i.Name.Name
		}
		return path.Base(pkg)
	}
	return ""
}

// uses calls found for each use of one of the names of a package.
func (s *source) uses(pkg string, names []string, found func(name string, at token.Pos)) {
	local := s.local(pkg)
	if local == "" {
		return
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
			for _, name := range names {
				if sel.Sel.Name == name {
					found(name, sel.Pos())
				}
			}
		}
		return true
	})
}
