package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// call runs a command line as main does.
func call(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = Main(append(args, "--state-dir", t.TempDir()), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func brokenTopology(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../examples/three.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "broken.yaml")
	text := strings.NewReplacer("host: 12", "host: 11", "prefer: node01", "prefer: node7").Replace(string(b))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTopologyCheckSaysWhatIsWrong(t *testing.T) {
	code, out, errs := call(t, "topology", "check", "../../examples/small.yaml")
	if code != 0 || !strings.Contains(out, "ok: small · 9 servers") || errs != "" {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
	code, out, errs = call(t, "topology", "check", "../../examples/three.yaml")
	if code != 0 || !strings.Contains(out, "warning: ../../examples/three.yaml:24: control and compute") || errs != "" {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
	if code, _, errs = call(t, "topology", "check", "--strict", "../../examples/three.yaml"); code != 1 || !strings.Contains(errs, "2 warnings") {
		t.Errorf("strict: code %d %s", code, errs)
	}
	file := brokenTopology(t)
	code, out, errs = call(t, "topology", "check", file)
	for _, want := range []string{"hastack: topology " + file + " has 2 problems:", file + ":25: server node02 has the host number 11 of node01 (line 24)",
		file + `:29: VIP api prefers "node7", which is no server: did you mean "node01"?`} {
		if code != 1 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("code %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
	code, out, _ = call(t, "topology", "check", file, "--json")
	var said struct{ Problems []struct{ Line int } }
	if err := json.Unmarshal([]byte(out), &said); code != 1 || err != nil || len(said.Problems) != 2 || said.Problems[0].Line != 25 {
		t.Errorf("code %d: %v %s", code, err, out)
	}
	if code, _, errs = call(t, "topology", "check", "no-such-file"); code != 1 || !strings.Contains(errs, "no-such-file") {
		t.Errorf("missing file: code %d %s", code, errs)
	}
	if code, _, _ = call(t, "topology", "check"); code != 2 {
		t.Errorf("no file: code %d, want 2", code)
	}
}

func TestTopologyShowDraws(t *testing.T) {
	code, out, _ := call(t, "topology", "show", "../../examples/reference-27.yaml")
	for _, want := range []string{"27 servers", "108    1728 GB", "39.6 TB of 118.8 TB", "swiftstorage06", "203.0.113.100"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("code %d, no %q", code, want)
		}
	}
	svg := filepath.Join(t.TempDir(), "cluster.svg")
	if code, _, errs := call(t, "topology", "show", "../../examples/three.yaml", "--svg", svg); code != 0 {
		t.Error(errs)
	}
	if b, err := os.ReadFile(svg); err != nil || !bytes.HasPrefix(b, []byte("<svg ")) {
		t.Errorf("no drawing: %v", err)
	}
	_, out, _ = call(t, "topology", "show", "../../examples/three.yaml", "--json")
	var view struct {
		Servers []struct{ Addresses map[string]string }
	}
	if err := json.Unmarshal([]byte(out), &view); err != nil || view.Servers[2].Addresses["tunnel"] != "10.4.0.13" {
		t.Errorf("%v %.200s", err, out)
	}
	if _, out, _ = call(t, "topology", "schema"); !json.Valid([]byte(out)) {
		t.Error("the schema is no JSON")
	}
}

func TestLogsAreRefusedWithoutACluster(t *testing.T) {
	if code, _, errs := call(t, "logs", "--since", "-1h"); code != 2 || !strings.Contains(errs, "--since") {
		t.Errorf("code %d %s", code, errs)
	}
	if code, _, errs := call(t, "logs"); code != 1 || !strings.Contains(errs, "there is no cluster") {
		t.Errorf("code %d %s", code, errs)
	}
}
