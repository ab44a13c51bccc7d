package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/alarm"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/topology"
)

func contextOf(t *testing.T, top *topology.Topology) *Context {
	t.Helper()
	dir, err := cluster.Ensure(t.TempDir(), top)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dir.Close)
	return &Context{Topology: top, Cluster: dir, Clock: clock.System}
}

// spread writes a part's files into a directory, with the paths in them
// changed, as the programs' own checks look at the files that they name.
func spread(t *testing.T, w *Want) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range w.Files {
		path := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		content := strings.ReplaceAll(string(f.Content), monitorDir+"/", filepath.Join(dir, monitorDir)+"/")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPrometheusAndAlertmanagerTakeTheirFiles(t *testing.T) {
	for _, tool := range []string{"promtool", "amtool"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	for _, name := range []string{"three", "small", "reference-27"} {
		top := example(t, name)
		top.Alarms.Webhooks = []string{"https://alarms.example.org/hook?x=1"}
		c := contextOf(t, top)
		w, err := wantMonitoring(c, top.Monitors()[0])
		if err != nil {
			t.Fatal(err)
		}
		dir := spread(t, w)
		for _, check := range [][]string{
			{"promtool", "check", "config", filepath.Join(dir, monitorDir, "prometheus.yml")},
			{"promtool", "check", "web-config", filepath.Join(dir, webFile)},
			{"amtool", "check-config", filepath.Join(dir, alertFile)},
		} {
			if out, err := exec.CommandContext(t.Context(), check[0], check[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %v\n%s", name, check, err, out)
			}
		}
	}
}

// Every server is watched, every service on it, and by no address but that of
// the management network.
func TestMonitorsLookAtEverything(t *testing.T) {
	top := example(t, "reference-27")
	conf, err := render("prometheus.yml", prometheusTemplate, prometheusView(top))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range top.Servers {
		if want := "- targets: ['" + s.Management().String() + ":9180']\n        labels: {server: " + s.Name + "}"; !strings.Contains(string(conf), want) {
			t.Errorf("nobody looks at %s", s.Name)
		}
	}
	for _, want := range []string{
		"['10.3.0.21:8774']\n        labels: {server: controller02, role: nova-api}",
		"['10.3.0.48:8773']\n        labels: {server: compute09, role: nova-compute}",
		"['10.3.0.12:8404']\n        labels: {server: loadbalance02}",
		"['10.3.0.22:15692']\n        labels: {server: controller03}",
		"- 10.3.0.10:9093",
	} {
		if !strings.Contains(string(conf), want) {
			t.Errorf("no %q in\n%s", want, conf)
		}
	}
	if strings.Contains(string(conf), "203.0.113.") {
		t.Error("monitors use the external network")
	}
}

// A monitor that comes back from a power cut raises nothing by what it read
// before it: alarms are cleared a minute after their cause is gone.
func TestMonitorsForgetWhatTheyReadBeforeAPowerCut(t *testing.T) {
	_, after, _ := strings.Cut(prometheusArgs(example(t, "three").Servers[0]), "--query.lookback-delta=")
	value, _, _ := strings.Cut(after, " ")
	d, err := time.ParseDuration(value)
	if err != nil || d < 2*alarm.EnginesEvery || d > 45*time.Second {
		t.Errorf("it forgets after %q (%v): less than a minute is wanted, and two readings of everything", value, err)
	}
}

func TestMonitorsKeepTheirKeys(t *testing.T) {
	top := example(t, "three")
	top.Alarms.Webhooks = []string{"https://alarms.example.org/token"}
	w, err := wantMonitoring(contextOf(t, top), top.Servers[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range w.Files {
		secret := strings.Contains(string(f.Content), "PRIVATE KEY") || strings.Contains(string(f.Content), "example.org/token")
		if secret && (!f.Secret || f.Mode&0o007 != 0) {
			t.Errorf("%s (mode %o) can be read by everybody or is shown", f.Path, f.Mode)
		}
	}
}

func TestAlertmanagersKnowEachOther(t *testing.T) {
	top := example(t, "three")
	args := alertmanagerArgs(top, top.Server("node02"))
	for _, want := range []string{"--cluster.peer=10.3.0.11:9094", "--cluster.peer=10.3.0.13:9094", "--cluster.listen-address=10.3.0.12:9094", "--cluster.tls-config="} {
		if !strings.Contains(args, want) {
			t.Errorf("no %s in %s", want, args)
		}
	}
	if strings.Contains(args, "--cluster.peer=10.3.0.12") {
		t.Error("an Alertmanager is its own peer")
	}
}
