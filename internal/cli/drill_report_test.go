package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTablesGoBetweenTheMarksOfTheirCluster(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.md")
	doc := "top\n" + beginMark("three") + "\nold three\n" + drillsEnd + "\nbetween\n" + beginMark("small") + "\nold small\n" + drillsEnd + "\nbottom\n"
	if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := putTable(file, "small", "# New\n"); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(b), strings.Replace(doc, "\nold small\n", "\n## New\n", 1); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := putTable(file, "other", "# New\n"); err == nil {
		t.Error("a cluster without marks found a place")
	}
	if err := os.WriteFile(file, []byte(drillsBegin+"old"+drillsEnd), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := putTable(file, "other", "new\n"); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(file); string(b) != drillsBegin+"\nnew\n"+drillsEnd {
		t.Errorf("got %q", b)
	}
}
