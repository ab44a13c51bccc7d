package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/cluster/clustertest"
	"github.com/hastack/hastack/internal/deploy"
	"github.com/hastack/hastack/internal/topology"
)

// me owns the files of tests, which do not run as root.
func me(t *testing.T) (name, group string) {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	return u.Username, g.Name
}

func everywhere(t *topology.Topology) []*topology.Server { return t.Servers }

// engine is a part with one of everything; content is its configuration.
func engine(t *testing.T, name, content string) *deploy.Part {
	owner, group := me(t)
	unit := name + ".service"
	file := func(path, text string) deploy.File {
		return deploy.File{Path: path, Owner: owner, Group: group, Mode: 0o640, Content: []byte(text), Restart: []string{unit}}
	}
	return &deploy.Part{
		Name: name, Servers: everywhere, Deadline: 5 * time.Second,
		Want: func(_ *deploy.Context, s *topology.Server) (*deploy.Want, error) {
			main := file("/etc/"+name+"/main.conf", content+" on "+s.Name+"\n")
			main.Then = []string{`echo then >> "$HASTACK_DEPLOY_ROOT/.did"`}
			return &deploy.Want{
				Packages: []string{name},
				Dirs:     []deploy.Directory{{Path: "/etc/" + name, Owner: owner, Group: group, Mode: 0o750}},
				Files:    []deploy.File{main, file("/etc/"+name+"/zero", ""), file("/etc/"+name+"/binary", "\x00\xff\n\t'$(false)"+strings.Repeat("x", 70000)), {Path: "/etc/" + name + "/link", Link: "main.conf"}},
				Units:    []deploy.Unit{{Name: unit, Content: "# unit of " + name + " " + content + "\n", Enabled: true, Running: true}},
				Absent:   []string{"/etc/" + name + "/old"},
			}, nil
		},
	}
}

func contextOf(t *testing.T, f *clustertest.Fleet) *deploy.Context {
	return &deploy.Context{Topology: f.Topology, Cluster: f.Cluster(t), Clock: clock.System, Log: slog.New(slog.DiscardHandler)}
}

func run(t *testing.T, f *clustertest.Fleet, parts ...*deploy.Part) ([]deploy.Change, error) {
	t.Helper()
	return deploy.Deploy(t.Context(), contextOf(t, f), parts)
}

func mustRun(t *testing.T, f *clustertest.Fleet, parts ...*deploy.Part) []deploy.Change {
	t.Helper()
	changes, err := run(t, f, parts...)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func plan(t *testing.T, f *clustertest.Fleet, parts ...*deploy.Part) []deploy.Change {
	t.Helper()
	changes, err := deploy.Plan(t.Context(), contextOf(t, f), parts)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// snapshot is every path of a server with mode, content and modification time.
func snapshot(t *testing.T, s *clustertest.Server) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(s.Root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		text := ""
		if info.Mode().IsRegular() {
			b, _ := os.ReadFile(path)
			text = string(b)
		}
		out[strings.TrimPrefix(path, s.Root)] = fmt.Sprint(info.Mode(), info.ModTime(), text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// checkServer wants the engine to be whole on a server and to run with the
// configuration that is on its disk.
func checkServer(t *testing.T, s *clustertest.Server, name, content string) {
	t.Helper()
	want := content + " on " + s.Name + "\n"
	if got := s.Read("/etc/" + name + "/main.conf"); got != want {
		t.Errorf("%s: main.conf is %q, want %q", s.Name, got, want)
	}
	config, up := s.Runs(name + ".service")
	if !up || !strings.Contains(config, want) || !strings.Contains(config, "# unit of "+name+" "+content+"\n") {
		t.Errorf("%s: %s runs %v with an old configuration: %.80q", s.Name, name, up, config)
	}
	if s.Read("/etc/"+name+"/binary") != "\x00\xff\n\t'$(false)"+strings.Repeat("x", 70000) {
		t.Errorf("%s: the binary file is damaged", s.Name)
	}
	if got, _ := os.Readlink(filepath.Join(s.Root, "etc", name, "link")); got != "main.conf" {
		t.Errorf("%s: link is %q", s.Name, got)
	}
	if got, err := os.Stat(filepath.Join(s.Root, "etc", name, "main.conf")); err != nil || got.Mode().Perm() != 0o640 {
		t.Errorf("%s: mode %v, %v", s.Name, got.Mode(), err)
	}
	for path := range snapshot(t, s) {
		if strings.Contains(path, "hastack-new") {
			t.Errorf("%s: %s was left", s.Name, path)
		}
		if strings.HasSuffix(path, ".pending") {
			t.Errorf("%s: something is still due", s.Name)
		}
	}
}

func TestDeployBringsEverythingAndIsIdempotent(t *testing.T) {
	f := clustertest.New(t)
	parts := []*deploy.Part{engine(t, "alpha", "one"), engine(t, "beta", "one")}
	before := map[string]map[string]string{}
	for name, s := range f.Servers {
		if err := os.MkdirAll(filepath.Join(s.Root, "etc/alpha"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.Root, "etc/alpha/old"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		before[name] = snapshot(t, s)
	}
	planned := plan(t, f, parts...)
	for name, s := range f.Servers {
		if after := snapshot(t, s); fmt.Sprint(after) != fmt.Sprint(before[name]) {
			t.Fatalf("plan changed %s", name)
		}
	}
	made := mustRun(t, f, parts...)
	if len(made) != len(planned) || len(made) < 3*2*8 {
		t.Errorf("%d changes planned, %d made", len(planned), len(made))
	}
	for _, s := range f.Servers {
		checkServer(t, s, "alpha", "one")
		checkServer(t, s, "beta", "one")
		did := s.Did(t)
		for _, want := range []string{"install alpha", "enable beta.service", "start beta.service", "then"} {
			if !slices.Contains(did, want) {
				t.Errorf("%s did not %s: %v", s.Name, want, did)
			}
		}
		if slices.ContainsFunc(did, func(d string) bool { return strings.Contains(d, "restart") }) {
			t.Errorf("%s: a unit was restarted in a first deploy: %v", s.Name, did)
		}
		if s.Read("/etc/alpha/old") != "" || s.Read("/usr/sbin/policy-rc.d") != "" {
			t.Errorf("%s: a file is there that must not be", s.Name)
		}
		before[s.Name] = snapshot(t, s)
	}
	if again := mustRun(t, f, parts...); len(again) != 0 {
		t.Errorf("a second deploy changes %v", again)
	}
	for name, s := range f.Servers {
		if after := snapshot(t, s); fmt.Sprint(after) != fmt.Sprint(before[name]) {
			t.Errorf("a second deploy touched %s", name)
		}
	}
}

func TestOnlyWhatChangedIsRestarted(t *testing.T) {
	f := clustertest.New(t)
	mustRun(t, f, engine(t, "alpha", "one"), engine(t, "beta", "one"))
	was := len(f.Servers["node01"].Did(t))
	changes := mustRun(t, f, engine(t, "alpha", "two"), engine(t, "beta", "one"))
	for _, c := range changes {
		if c.Part == "beta" || c.Drift {
			t.Errorf("unexpected change %+v", c)
		}
	}
	for _, s := range f.Servers {
		checkServer(t, s, "alpha", "two")
		did := s.Did(t)[was:]
		if want := []string{"daemon-reload", "then", "try-restart alpha.service"}; !slices.Equal(did, want) {
			t.Errorf("%s did %v, want %v", s.Name, did, want)
		}
	}
}

func TestDriftIsToldAndRepaired(t *testing.T) {
	f := clustertest.New(t)
	part := engine(t, "alpha", "one")
	mustRun(t, f, part)
	s := f.Servers["node02"]
	for path, do := range map[string]func(string) error{
		"/etc/alpha/main.conf":         func(p string) error { return os.WriteFile(p, []byte("mine"), 0o640) },
		"/etc/alpha/zero":              os.Remove,
		"/etc/alpha/binary":            func(p string) error { return os.Chmod(p, 0o666) },
		"/.units/alpha.service.active": os.Remove,
	} {
		if err := do(filepath.Join(s.Root, path)); err != nil {
			t.Fatal(err)
		}
	}
	drift := map[string]string{}
	for _, c := range plan(t, f, part) {
		if c.Server != "node02" {
			t.Errorf("a change of another server: %+v", c)
		}
		if c.Drift {
			drift[c.Name] = c.Detail
		}
	}
	if len(drift) != 4 || drift["/etc/alpha/main.conf"] != "was changed on the server" || drift["/etc/alpha/zero"] != "was removed" ||
		drift["/etc/alpha/binary"] != "mode 666 → 640" || drift["alpha.service"] != "is inactive" {
		t.Errorf("drift %v", drift)
	}
	// A change of ours on top of one that was already told is not hidden by it.
	for _, c := range plan(t, f, engine(t, "alpha", "two")) {
		if c.Kind == deploy.KindFile && c.Drift != (c.Server == "node02" && !strings.HasPrefix(c.Name, "/etc/systemd")) {
			t.Errorf("%+v", c)
		}
	}
	mustRun(t, f, part)
	for _, s := range f.Servers {
		checkServer(t, s, "alpha", "one")
	}
	if left := plan(t, f, part); len(left) != 0 {
		t.Errorf("after repair: %v", left)
	}
}

// TestKilledAnywhereAndRunAgain cuts the way to one server after every so many
// bytes: the deploy fails, and the next one finds what is left to do, with the
// restart that is due.
func TestKilledAnywhereAndRunAgain(t *testing.T) {
	f := clustertest.New(t)
	mustRun(t, f, engine(t, "alpha", "v0"))
	s := f.Servers["node03"]
	failed := 0
	for i, bytes := range []int{1, 60, 150, 300, 420, 500, 700, 30000, 70000, 70600, 70700, 70800} {
		content := fmt.Sprintf("v%d", i+1)
		if err := os.Remove(filepath.Join(s.Root, "etc/alpha/binary")); err != nil {
			t.Fatal(err)
		}
		s.CutAfter(bytes)
		if _, err := run(t, f, engine(t, "alpha", content)); err != nil {
			failed++
			if !strings.Contains(err.Error(), "node03") || strings.Contains(err.Error(), "node01") {
				t.Errorf("error %v, want it to name node03 only", err)
			}
		}
		s.CutAfter(0)
		for _, c := range plan(t, f, engine(t, "alpha", content)) {
			if c.Drift && c.Kind == deploy.KindFile && c.Name != "/etc/alpha/binary" {
				t.Errorf("cut after %d: what a killed deploy left is called drift: %+v", bytes, c)
			}
		}
		mustRun(t, f, engine(t, "alpha", content))
		for _, s := range f.Servers {
			checkServer(t, s, "alpha", content)
		}
	}
	if failed < 8 {
		t.Errorf("only %d of the cuts hit a deploy", failed)
	}
}

func TestADueRestartSurvivesTheKillBeforeIt(t *testing.T) {
	f := clustertest.New(t)
	mustRun(t, f, engine(t, "alpha", "one"))
	// The part's own Start ends as if the operator's program had been killed:
	// the files are there, the unit still runs with the old ones.
	killed := engine(t, "alpha", "two")
	killed.Start = func(context.Context, *deploy.Context, map[string][]deploy.Change) error { return errors.New("killed") }
	if _, err := run(t, f, killed); err == nil {
		t.Fatal("the deploy went on")
	}
	if config, _ := f.Servers["node01"].Runs("alpha.service"); !strings.Contains(config, "one") || f.Servers["node01"].Read("/etc/alpha/main.conf") != "two on node01\n" {
		t.Fatal("the deploy was not killed where this test means it")
	}
	changes := mustRun(t, f, engine(t, "alpha", "two"))
	for _, s := range f.Servers {
		checkServer(t, s, "alpha", "two")
	}
	for _, c := range changes {
		if c.Kind != deploy.KindRestart && c.Kind != deploy.KindCommand {
			t.Errorf("unexpected change %+v", c)
		}
	}
}

func TestAFailureNamesTheServerAndStopsWhatFollows(t *testing.T) {
	f := clustertest.New(t)
	f.Servers["node02"].Broken["alpha.service"] = true
	_, err := run(t, f, engine(t, "alpha", "one"), engine(t, "beta", "one"))
	for _, word := range []string{"alpha", "node02", "alpha.service does not run", "the last words"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("error %v, want %q in it", err, word)
		}
	}
	for name, s := range f.Servers {
		if s.Read("/etc/beta/main.conf") != "" {
			t.Errorf("%s: beta was deployed after alpha had failed", name)
		}
		if name != "node02" {
			checkServer(t, s, "alpha", "one")
		}
	}
	f.Servers["node02"].Broken = map[string]bool{}
	mustRun(t, f, engine(t, "alpha", "one"), engine(t, "beta", "one"))
	checkServer(t, f.Servers["node02"], "beta", "one")
}

func TestRollingChangesOneServerAtATime(t *testing.T) {
	f := clustertest.New(t)
	var mu sync.Mutex
	var order []string
	part := func(content string) *deploy.Part {
		p := engine(t, "alpha", content)
		p.Rolling = true
		p.Healthy = func(_ context.Context, _ *deploy.Context, s *topology.Server) error {
			mu.Lock()
			defer mu.Unlock()
			if _, up := f.Servers[s.Name].Runs("alpha.service"); !up {
				return errors.New("does not run")
			}
			changed := 0
			for name, srv := range f.Servers {
				if config, _ := srv.Runs("alpha.service"); strings.Contains(config, "two") && !slices.Contains(order, name) {
					order, changed = append(order, name), changed+1
				}
			}
			if changed > 1 {
				t.Errorf("%d servers were changed at once", changed)
			}
			return nil
		}
		return p
	}
	mustRun(t, f, part("one"))
	// The one that is down is brought back before another is taken down.
	if err := os.Remove(filepath.Join(f.Servers["node03"].Root, ".units/alpha.service.active")); err != nil {
		t.Fatal(err)
	}
	mustRun(t, f, part("two"))
	if want := []string{"node03", "node01", "node02"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

func TestRollingStopsAtTheFirstServerThatDoesNotGetWell(t *testing.T) {
	f := clustertest.New(t)
	part := func(content string) *deploy.Part {
		p := engine(t, "alpha", content)
		p.Rolling, p.Deadline = true, 300*time.Millisecond
		p.Healthy = func(_ context.Context, _ *deploy.Context, s *topology.Server) error {
			if config, _ := f.Servers[s.Name].Runs("alpha.service"); strings.Contains(config, "bad") {
				return errors.New("has lost its members")
			}
			return nil
		}
		return p
	}
	mustRun(t, f, part("one"))
	_, err := run(t, f, part("bad"))
	if err == nil || !strings.Contains(err.Error(), "node01") || !strings.Contains(err.Error(), "has lost its members") {
		t.Errorf("error %v", err)
	}
	for _, name := range []string{"node02", "node03"} {
		checkServer(t, f.Servers[name], "alpha", "one")
	}
}

func TestWhatALostRoleLeftIsStoppedAndRemoved(t *testing.T) {
	f := clustertest.New(t)
	mustRun(t, f, engine(t, "alpha", "one"), engine(t, "beta", "one"))
	beta := engine(t, "beta", "one")
	beta.Servers = func(t *topology.Topology) []*topology.Server { return t.Servers[:2] }
	parts := []*deploy.Part{engine(t, "alpha", "one"), beta}
	if changes := mustRun(t, f, parts...); len(changes) != 0 {
		t.Errorf("a selection of parts retires %v", changes)
	}
	c := contextOf(t, f)
	c.Complete = true
	planned, err := deploy.Plan(t.Context(), c, parts)
	if err != nil || len(planned) < 5 || planned[0].Server != "node03" {
		t.Fatalf("planned %v, %v", planned, err)
	}
	if made, err := deploy.Deploy(t.Context(), c, parts); err != nil || len(made) != len(planned) {
		t.Fatalf("made %v, %v", made, err)
	}
	for name, s := range f.Servers {
		checkServer(t, s, "alpha", "one")
		_, up := s.Runs("beta.service")
		if left := s.Read("/etc/beta/main.conf") != ""; left != (name != "node03") || up != left {
			t.Errorf("%s: beta runs %v, its file is there: %v", name, up, left)
		}
	}
	if made, err := deploy.Deploy(t.Context(), c, parts); err != nil || len(made) != 0 {
		t.Errorf("again: %v, %v", made, err)
	}
}

// TestALargeFileIsReadOnlyWhenItsInodeChanged also checks that what somebody
// else puts in its place is seen.
func TestALargeFileIsReadOnlyWhenItsInodeChanged(t *testing.T) {
	f := clustertest.New(t)
	owner, group := me(t)
	content := []byte(strings.Repeat("0123456789abcdef", 1<<19+1))
	part := &deploy.Part{Name: "big", Servers: everywhere, Want: func(*deploy.Context, *topology.Server) (*deploy.Want, error) {
		return &deploy.Want{Files: []deploy.File{{Path: "/usr/big", Owner: owner, Group: group, Mode: 0o755, Content: content}}}, nil
	}}
	mustRun(t, f, part)
	s := f.Servers["node01"]
	if !strings.Contains(s.Read("/var/lib/hastack/deploy/big.records"), "stat /usr/big\t") {
		t.Error("the inode was not noted")
	}
	if left := plan(t, f, part); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	other := []byte(strings.Replace(string(content), "0", "1", 1))
	if err := os.WriteFile(filepath.Join(s.Root, "usr/big"), other, 0o755); err != nil {
		t.Fatal(err)
	}
	if left := plan(t, f, part); len(left) != 1 || !left[0].Drift || left[0].Server != "node01" {
		t.Errorf("a changed file of the same size gives %v", left)
	}
	mustRun(t, f, part)
	if s.Read("/usr/big") != string(content) {
		t.Error("it was not put back")
	}
}

func TestTwoDeploysAtOnceAreRefused(t *testing.T) {
	f := clustertest.New(t)
	a, b := contextOf(t, f), contextOf(t, f) // two operators: two cluster directories
	unlock, err := a.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lock(t.Context()); err == nil || !strings.Contains(err.Error(), "another deploy is running") {
		t.Errorf("second deploy: %v, want a refusal", err)
	}
	unlock()
	deadline := time.Now().Add(5 * time.Second)
	for {
		again, err := b.Lock(t.Context())
		if err == nil {
			again()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the lock outlives its deploy: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestADeployWaitsForWhatAKilledOneLeft(t *testing.T) {
	f := clustertest.New(t)
	a := contextOf(t, f)
	unlock, err := a.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan struct{})
	go func() {
		time.Sleep(200 * time.Millisecond)
		close(started)
		time.Sleep(100 * time.Millisecond)
		cancel()
	}()
	_, err = a.Run(ctx, f.Topology.Server("node01"), `sleep 1.5; echo slow >> "$HASTACK_DEPLOY_ROOT/.did"`, nil)
	<-started
	if err == nil {
		t.Fatal("the command was not cut off")
	}
	unlock()
	a.Cluster.Close()
	b := contextOf(t, f)
	unlock, err = b.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if did := f.Servers["node01"].Did(t); !slices.Equal(did, []string{"slow"}) {
		t.Errorf("the deploy began while a command of the one before was running: %v", did)
	}
}

func TestAServerThatVanishesIsNamed(t *testing.T) {
	f := clustertest.New(t)
	f.Servers["node02"].Stop()
	if _, err := run(t, f, engine(t, "alpha", "one")); err == nil || !strings.Contains(err.Error(), "node02") || strings.Contains(err.Error(), "node01") {
		t.Errorf("error %v", err)
	}
	for name, s := range f.Servers {
		if s.Read("/etc/alpha/main.conf") != "" {
			t.Errorf("%s was changed", name)
		}
	}
}
