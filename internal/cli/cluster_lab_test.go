package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheClusterOfALabThatIsDownIsRefused(t *testing.T) {
	state := t.TempDir()
	dir := filepath.Join(state, "clusters", "three")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := enterLab(state, "three", dir); err != nil {
		t.Fatalf("a cluster that is no lab's is refused: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, labMark), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := enterLab(state, "three", dir); err == nil || !strings.Contains(err.Error(), "hastack lab up") {
		t.Fatalf("its addresses would be asked from here: %v", err)
	}
}

// A cloud on this machine is not begun in the directory of a cluster.
func TestUpRefusesAClusterThatWasNeverDeployed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := Main([]string{"up", "--driver", "fake", "--state-dir", dir}, &out, &errs); code != 1 || !strings.Contains(errs.String(), "hastack deploy") {
		t.Errorf("code %d %s", code, errs.String())
	}
}
