package deploy

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/topology"
)

func newKeys(t *testing.T) (keyDir, map[int][]byte) {
	t.Helper()
	d := keyDir(filepath.Join(t.TempDir(), "fernet-keys"))
	if err := d.ensure(); err != nil {
		t.Fatal(err)
	}
	keys, err := d.read()
	if err != nil {
		t.Fatal(err)
	}
	return d, keys
}

// A server that has the set before a rotation and one that has the set after it
// open each other's tokens: each one's primary is among the other's keys.
func TestRotationIsSafeWhateverServerGetsItFirst(t *testing.T) {
	d, before := newKeys(t)
	for round := range 8 {
		if err := d.rotate(daily(round)); err != nil {
			t.Fatal(err)
		}
		after, err := d.read()
		if err != nil {
			t.Fatal(err)
		}
		primary := func(keys map[int][]byte) []byte { return keys[slices.Max(slices.Collect(maps.Keys(keys)))] }
		has := func(keys map[int][]byte, key []byte) bool {
			return slices.ContainsFunc(slices.Collect(maps.Values(keys)), func(k []byte) bool { return bytes.Equal(k, key) })
		}
		if !has(before, primary(after)) || !has(after, primary(before)) {
			t.Fatalf("round %d: a token of one cannot be opened by the other", round)
		}
		if has(before, after[0]) || len(after) > activeKeys {
			t.Fatalf("round %d: %d keys, the staged one is old: %v", round, len(after), has(before, after[0]))
		}
		before = after
	}
}

// daily is the time of a rotation a day and a bit after the one before.
func daily(round int) time.Time { return time.Unix(1e9, 0).Add(time.Duration(round) * 25 * time.Hour) }

func TestKeysOfLivingTokensAreKeptHoweverOftenTheyRotate(t *testing.T) {
	d, first := newKeys(t)
	for round := range 10 {
		if err := d.rotate(time.Unix(1e9, 0).Add(time.Duration(round) * time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := d.read()
	if err != nil || len(keys) != 12 || !bytes.Equal(keys[1], first[1]) {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	if err := d.rotate(daily(2)); err != nil {
		t.Fatal(err)
	}
	if keys, err = d.read(); err != nil || len(keys) != activeKeys {
		t.Errorf("%d keys two days later, %v", len(keys), err)
	}
}

func TestRotationThatWasCutShortIsFinished(t *testing.T) {
	d, before := newKeys(t)
	// What a rotation leaves that died after its first step.
	if err := os.Rename(d.file(0), d.file(2)); err != nil {
		t.Fatal(err)
	}
	w := &Want{}
	if err := d.want(w, "/etc/hastack/keys/fernet-keys"); err != nil {
		t.Fatal(err)
	}
	keys, err := d.read()
	if err != nil || len(keys) != 3 || len(keys[0]) == 0 || !bytes.Equal(keys[2], before[0]) {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

func TestRetiredKeysGoFromServers(t *testing.T) {
	d, _ := newKeys(t)
	for round := range 5 {
		if err := d.rotate(daily(round)); err != nil {
			t.Fatal(err)
		}
	}
	w := &Want{}
	if err := d.want(w, "/k"); err != nil {
		t.Fatal(err)
	}
	if len(w.Files) != activeKeys || !slices.Equal(w.Absent, []string{"/k/1", "/k/2", "/k/3"}) {
		t.Errorf("%d files, absent %v", len(w.Files), w.Absent)
	}
}

func TestDamagedKeyIsToldAndNotSpread(t *testing.T) {
	d, _ := newKeys(t)
	if err := os.WriteFile(d.file(1), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.want(&Want{}, "/k"); err == nil || !strings.Contains(err.Error(), d.file(1)) {
		t.Error(err)
	}
}

const backupTopology = `
name: saved
domain: wanted.example
allow_colocation: true
networks:
  management: {cidr: 10.3.0.0/24, device: bond0, switches: [tor-a]}
  external: {cidr: 203.0.113.0/24, device: bond1, switches: [tor-a], gateway: 203.0.113.1, floating: 203.0.113.128-203.0.113.250}
  tunnel: {cidr: 10.4.0.0/24, device: bond2, switches: [tor-a]}
switches:
  - {name: tor-a, rack: r1}
servers:
  - {name: c1, host: 11, rack: r1, roles: [control, load-balancer]}
  - {name: c2, host: 12, rack: r1, roles: [control, load-balancer]}
  - {name: c3, host: 13, rack: r1, roles: [control, load-balancer]}
  - {name: net1, host: 21, rack: r1, roles: [network]}
  - {name: cmp1, host: 31, rack: r1, roles: [compute]}
vips:
  - {name: api, network: management, address: 10.3.0.100}
  - {name: public, network: external, address: 203.0.113.100}
`

func TestBackupBringsTheDirectoryBack(t *testing.T) {
	top, err := topology.Parse("saved.yaml", []byte(backupTopology))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "saved")
	d, err := cluster.Ensure(dir, top)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.SaveTopology([]byte(backupTopology)); err != nil {
		t.Fatal(err)
	}
	if err := keyDir(filepath.Join(dir, fernetKeys)).ensure(); err != nil {
		t.Fatal(err)
	}
	c := &Context{Topology: top, Cluster: d, Clock: clock.System, Release: "r"}
	if err := c.keep("1-abc", []byte("a binary that need not be saved")); err != nil {
		t.Fatal(err)
	}
	dump, err := os.Create(filepath.Join(t.TempDir(), "dump"))
	if err != nil {
		t.Fatal(err)
	}
	defer dump.Close()
	if _, err := dump.WriteString("the dump"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	about := BackupAbout{Format: backupFormat, Cluster: "saved", Release: "r", Taken: time.Unix(1e9, 0).UTC()}
	if err := writeBackup(out, about, dir, dump); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	var sql bytes.Buffer
	got, files, err := readBackup(file, &sql)
	if err != nil || got != about || sql.String() != "the dump" {
		t.Fatalf("%+v %q %v", got, sql.String(), err)
	}
	for name := range files {
		if strings.HasPrefix(name, "releases/") || strings.HasSuffix(name, ".lock") {
			t.Errorf("%s is in the backup", name)
		}
	}
	again := filepath.Join(t.TempDir(), "again")
	if err := RestoreDirectory(file, again); err != nil {
		t.Fatal(err)
	}
	d2, err := cluster.Open(again)
	if err != nil || d2.Secrets.DatabaseRoot.Reveal() != d.Secrets.DatabaseRoot.Reveal() || !bytes.Equal(d2.CAPEM(), d.CAPEM()) {
		t.Errorf("another cluster came back: %v", err)
	}
	if st, err := os.Stat(filepath.Join(again, config.SecretsFile)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("secrets: %v %v", st, err)
	}
	if err := (&Context{Topology: top, Cluster: d2}).sameCluster(files); err != nil {
		t.Error(err)
	}
	other, err := cluster.Ensure(filepath.Join(t.TempDir(), "other"), top)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&Context{Topology: top, Cluster: other}).sameCluster(files); err == nil {
		t.Error("a backup goes into another cluster")
	}
	if err := RestoreDirectory(file, again); err == nil {
		t.Error("a directory in use was overwritten")
	}
}

func TestDamagedBackupIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "b")
	if err := os.WriteFile(file, []byte("not gzip"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadBackup(file); err == nil || !strings.Contains(err.Error(), "is no backup") {
		t.Error(err)
	}
}
