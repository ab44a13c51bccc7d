package archtest

import (
	"go/ast"
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	namedTest = regexp.MustCompile("`((?:internal|test)/[a-z/]+)\\.((?:Test|Fuzz)\\w+)`")
	rowOfCase = regexp.MustCompile(`Sec(\d\d)`)
)

// TestSecurityCasesAreTheTestsThatExist holds doc/security.md against the tree,
// both ways.
func TestSecurityCasesAreTheTestsThatExist(t *testing.T) {
	doc, err := os.ReadFile("../../doc/security.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{} // a row's line by its number in two digits
	for line := range strings.Lines(string(doc)) {
		if cells := strings.Split(line, "|"); len(cells) == 5 {
			number := strings.TrimSpace(cells[1])
			rows[strings.Repeat("0", max(0, 2-len(number)))+number] = line
		}
	}
	exist := map[string]bool{}
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil {
				continue
			}
			name := s.dir + "." + f.Name.Name
			exist[name] = true
			if !strings.HasPrefix(f.Name.Name, "Test") && !strings.HasPrefix(f.Name.Name, "Fuzz") {
				continue
			}
			for _, m := range rowOfCase.FindAllStringSubmatch(f.Name.Name, -1) {
				if !strings.Contains(rows[m[1]], "`"+name+"`") {
					t.Errorf("%s: %s is not in row %s of doc/security.md", s.at(f.Pos()), name, m[1])
				}
			}
		}
	}
	named := namedTest.FindAllStringSubmatch(string(doc), -1)
	if len(named) < 50 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, m := range named {
		if !exist[m[1]+"."+m[2]] {
			t.Errorf("doc/security.md names %s.%s, which does not exist", m[1], m[2])
		}
	}
}
