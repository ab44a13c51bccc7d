package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/tlsfiles/tlstest"
)

var quiet = slog.New(slog.DiscardHandler)

// collected is the state after one look of a collector.
func collected(t *testing.T, c Collector) *State {
	t.Helper()
	f, err := c.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &State{}
	f(s)
	return s
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestHostIsReadFromProc(t *testing.T) {
	root := fstest.MapFS{
		"proc/meminfo": file("MemTotal:        2048 kB\nMemFree: 1 kB\nMemAvailable:    1024 kB\nSwapTotal: 100 kB\nSwapFree: 60 kB\n"),
		"proc/loadavg": file("0.42 0.10 0.38 1/200 4711\n"), "proc/uptime": file("3600.55 100.0\n"),
		"proc/cpuinfo": file("processor\t: 0\nmodel name\t: x\n\nprocessor\t: 1\n"), "proc/sys/kernel/random/boot_id": file("b00\n"),
	}
	want := &Host{Uptime: time.Hour, BootID: "b00", CPUs: 2, Load1: .42, MemoryTotal: 2 << 20, MemoryAvailable: 1 << 20, SwapUsed: 40 << 10}
	if diff := cmp.Diff(want, collected(t, &hostCollector{root: root}).Host); diff != "" {
		t.Error(diff)
	}
	if _, err := (&hostCollector{root: fstest.MapFS{"proc/meminfo": file("nonsense")}}).Collect(t.Context()); err == nil {
		t.Error("a machine without memory is no error")
	}
}

func TestTwoPathsOnOneFileSystemAreOneDisk(t *testing.T) {
	c := diskCollector{[]string{"/", "/var/lib", "/srv", "/gone"}, func(p string, st *unix.Statfs_t) error {
		if p == "/gone" {
			return unix.ENOENT
		}
		*st = unix.Statfs_t{Bsize: 4096, Blocks: 100, Bavail: 25, Files: 10, Ffree: 3}
		if p == "/srv" {
			st.Fsid.Val[0], st.Flags = 7, unix.ST_RDONLY
		}
		return nil
	}}
	f, err := c.Collect(t.Context())
	if err == nil || !strings.Contains(err.Error(), "/gone") {
		t.Errorf("error %v, want one that names /gone", err)
	}
	s := &State{}
	f(s)
	want := []Disk{
		{Path: "/", Size: 409600, Free: 102400, Inodes: 10, FreeInodes: 3},
		{Path: "/srv", Size: 409600, Free: 102400, Inodes: 10, FreeInodes: 3, ReadOnly: true},
	}
	if diff := cmp.Diff(want, s.Disks); diff != "" {
		t.Error(diff)
	}
}

func TestGuestsAreCountedByTheirName(t *testing.T) {
	root := fstest.MapFS{
		"proc/1/comm": file("systemd\n"), "proc/20/comm": file("qemu-system-x86\n"), "proc/21/comm": file("qemu-system-x86\n"),
		"proc/22/comm": file("qemu-img\n"), "proc/meminfo": file(""), "proc/23/stat": file(""),
	}
	if n := collected(t, guestCollector{root}).Guests; n == nil || *n != 2 {
		t.Errorf("%v guests, want 2", n)
	}
}

// TestLegsOfABondAndItsStandIn reads a kernel's bond, a bridge with the active
// leg in it, and a plain port.
func TestLegsOfABondAndItsStandIn(t *testing.T) {
	const net = "sys/class/net/"
	root := fstest.MapFS{
		net + "bond0/bonding/active_slave": file("bond0l2\n"),
		net + "bond0l1/carrier":            file("0\n"), net + "bond0l1/carrier_changes": file("3\n"),
		net + "bond0l2/carrier": file("1\n"), net + "bond0l2/carrier_changes": file("1\n"),
		net + "bond1/bridge/stp_state": file("0\n"),
		net + "bond1l1/carrier":        file("1\n"), net + "bond1l1/brport/state": file("3\n"),
		net + "bond1l2/carrier": file("1\n"),
		net + "oob0/carrier":    file("1\n"),
	}
	fake := clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	leg := func(name, sw string) LegConfig { return LegConfig{name, sw} }
	c := &linkCollector{root: root, clock: fake, log: quiet, since: since{}, links: []LinkConfig{
		{"bond0", "management", []LegConfig{leg("bond0l1", "tor-a"), leg("bond0l2", "tor-b")}},
		{"bond1", "external", []LegConfig{leg("bond1l1", "tor-a"), leg("bond1l2", "tor-b")}},
		{"oob0", "out-of-band", []LegConfig{leg("oob0", "oob")}},
		{"bond9", "tunnel", []LegConfig{leg("bond9l1", "tor-a")}},
	}}
	begun := fake.Now()
	want := []Device{
		{Name: "bond0", Network: "management", Present: true, Up: true, Since: begun, Legs: []Leg{
			{Name: "bond0l1", Switch: "tor-a", Changes: 3, Since: begun},
			{Name: "bond0l2", Switch: "tor-b", Carrier: true, Active: true, Changes: 1, Since: begun},
		}},
		{Name: "bond1", Network: "external", Present: true, Up: true, Since: begun, Legs: []Leg{
			{Name: "bond1l1", Switch: "tor-a", Carrier: true, Active: true, Since: begun},
			{Name: "bond1l2", Switch: "tor-b", Carrier: true, Since: begun},
		}},
		{Name: "oob0", Network: "out-of-band", Present: true, Up: true, Since: begun, Legs: []Leg{
			{Name: "oob0", Switch: "oob", Carrier: true, Active: true, Since: begun},
		}},
		{Name: "bond9", Network: "tunnel", Since: begun, Legs: []Leg{{Name: "bond9l1", Switch: "tor-a", Since: begun}}},
	}
	if diff := cmp.Diff(want, collected(t, c).Links); diff != "" {
		t.Error(diff)
	}
	// The cable is pulled a minute later: since tells when.
	fake.Advance(time.Minute)
	root[net+"bond0l2/carrier"] = file("0\n")
	got := collected(t, c).Links[0]
	if got.Up || got.Since != fake.Now() || got.Legs[1].Since != fake.Now() || got.Legs[0].Since != begun {
		t.Errorf("after the cable was pulled: %+v", got)
	}
}

func TestVirtualAddressIsSeenToMove(t *testing.T) {
	vip := netip.MustParseAddr("10.3.0.100")
	has := []netip.Addr{netip.MustParseAddr("10.3.0.11")}
	c := &vipCollector{vips: []VIPConfig{{"api", vip}}, addresses: func() ([]netip.Addr, error) { return has, nil },
		clock: clock.NewFake(time.Unix(0, 0)), log: quiet, since: since{}}
	if v := collected(t, c).VIPs[0]; v.Held {
		t.Errorf("%+v is held before it is there", v)
	}
	has = append(has, vip)
	if v := collected(t, c).VIPs[0]; !v.Held || v.Address != "10.3.0.100" {
		t.Errorf("%+v is not held", v)
	}
}

func TestKernelAddressesHaveLoopback(t *testing.T) {
	list, err := kernelAddresses()
	if err != nil {
		t.Skip("the kernel does not tell addresses here: ", err)
	}
	for _, a := range list {
		if a == netip.MustParseAddr("127.0.0.1") {
			return
		}
	}
	t.Skip("no loopback address in this network namespace")
}

// systemd is a manager that a test gives its answers.
type systemd struct {
	units    []dbus.UnitStatus
	restarts map[string]uint32
	asked    int
	broken   error
}

func (s *systemd) ListUnitsByNamesContext(context.Context, []string) ([]dbus.UnitStatus, error) {
	return s.units, s.broken
}

func (s *systemd) GetUnitTypePropertyContext(_ context.Context, unit, typ, name string) (*dbus.Property, error) {
	s.asked++
	if n, ok := s.restarts[unit]; ok && typ == "Service" && name == "NRestarts" {
		return &dbus.Property{Name: name, Value: godbus.MakeVariant(n)}, nil
	}
	return nil, errors.New("no such property")
}

func (s *systemd) Close() {}

func TestUnitsTellTheirStatesAndRestarts(t *testing.T) {
	sd := &systemd{restarts: map[string]uint32{"a.service": 2}, units: []dbus.UnitStatus{
		{Name: "a.service", LoadState: "loaded", ActiveState: "active", SubState: "running"},
		{Name: "b.target", LoadState: "loaded", ActiveState: "failed", SubState: "failed"},
		{Name: "c.service", LoadState: "not-found", ActiveState: "inactive", SubState: "dead"},
	}}
	connected := 0
	c := newUnitCollector([]string{"a.service", "b.target", "c.service"}, Deps{Clock: clock.NewFake(time.Unix(0, 0)), Log: quiet})
	c.connect = func(context.Context) (manager, error) { connected++; return sd, nil }
	got := collected(t, c).Units
	if len(got) != 3 || got[0].Restarts != 2 || got[0].Active != "active" || got[1].Active != "failed" || got[2].Active != "missing" {
		t.Errorf("units %+v", got)
	}
	// Restarts are asked of every unit now and then, and at once of one that changed.
	sd.asked, sd.restarts["a.service"], sd.units[0].ActiveState = 0, 3, "activating"
	if got := collected(t, c).Units; got[0].Restarts != 3 || sd.asked > 2 {
		t.Errorf("%+v after %d questions", got[0], sd.asked)
	}
	sd.broken = errors.New("gone")
	if _, err := c.Collect(t.Context()); err == nil {
		t.Error("no error when systemd does not answer")
	}
	sd.broken = nil
	collected(t, c)
	if connected != 2 {
		t.Errorf("%d connections, want a second after the first broke", connected)
	}
}

func TestClockIsReadFromChrony(t *testing.T) {
	line := "0A030001,10.3.0.1,3,1795000000.1,0.000250000,-0.0001,0.0002,-1.5,0.01,0.02,0.001,0.0005,64.2,Normal\n"
	c := clockCollector{func(context.Context) ([]byte, error) { return []byte(line), nil }}
	want := &Clock{Synchronised: true, Source: "10.3.0.1", Stratum: 3, Offset: -250 * time.Microsecond}
	if diff := cmp.Diff(want, collected(t, c).Clock); diff != "" {
		t.Error(diff)
	}
	line = "00000000,,0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,1.0,0.0,Not synchronised\n"
	if k := collected(t, c).Clock; k.Synchronised {
		t.Errorf("%+v is synchronised", k)
	}
	line = "506 Cannot talk to daemon\n"
	if _, err := c.Collect(t.Context()); err == nil {
		t.Error("no error for an answer that is none")
	}
}

const crmXML = `<pacemaker-result api-version="2.25"><summary><stack type="corosync"/>
<current_dc present="true" version="2.1.5" name="lb2" id="2" with_quorum="true"/></summary>
<nodes><node name="lb1" id="1" online="false"/><node name="lb2" id="2" online="true"/></nodes>
<resources><group id="vips"><resource id="vip-api" role="Started"><node name="lb2" id="2"/></resource></group>
<resource id="lone" role="Stopped"/></resources>
<failures><failure op_key="vip-api_monitor_2000" node="lb1"/></failures><status code="0" message="OK"/></pacemaker-result>`

func TestPacemakerIsReadFromItsXML(t *testing.T) {
	c := pacemakerCollector{func(context.Context) ([]byte, error) { return []byte(crmXML), nil }}
	want := &Pacemaker{Quorate: true, DC: "lb2", Online: []string{"lb2"}, Offline: []string{"lb1"},
		Resources: map[string]string{"vip-api": "lb2", "lone": ""}, Failed: []string{"vip-api_monitor_2000 on lb1"}}
	if diff := cmp.Diff(want, collected(t, c).Pacemaker); diff != "" {
		t.Error(diff)
	}
}

func TestFernetKeysGiveAgeAndFingerprint(t *testing.T) {
	dir := t.TempDir()
	if _, err := (fernetCollector{dir}).Collect(t.Context()); err == nil {
		t.Error("no error for a directory without keys")
	}
	for n, age := range map[string]time.Duration{"0": time.Hour, "1": 5 * time.Hour, "2": 3 * time.Hour} {
		p := filepath.Join(dir, n)
		if err := os.WriteFile(p, []byte("key "+n), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(1_700_000_000, 0).Add(-age)
		if err := os.Chtimes(p, at, at); err != nil {
			t.Fatal(err)
		}
	}
	f := collected(t, fernetCollector{dir}).Fernet
	if f.Keys != 3 || !f.Rotated.Equal(time.Unix(1_700_000_000, 0).Add(-time.Hour)) || len(f.Primary) != 8 {
		t.Errorf("%+v", f)
	}
	before := f.Primary
	if err := os.WriteFile(filepath.Join(dir, "2"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := collected(t, fernetCollector{dir}).Fernet; f.Primary == before {
		t.Error("another primary key has the same fingerprint")
	}
}

// answers serves one text to whoever connects and sends a line.
func answers(t *testing.T, network, address string, reply func(line string) string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 256)
			n, _ := c.Read(buf)
			_, _ = io.WriteString(c, reply(strings.TrimSpace(string(buf[:n]))))
			c.Close()
		}
	}()
	return l
}

func TestMemcachedThatIsGoneIsKnownNotToAnswer(t *testing.T) {
	l := answers(t, "tcp", "127.0.0.1:0", func(string) string {
		return "STAT curr_items 5\r\nSTAT bytes 100\r\nSTAT limit_maxbytes 1000\r\nSTAT evictions 2\r\nSTAT curr_connections 9\r\nEND\r\n"
	})
	c := memcachedCollector{l.Addr().String()}
	want := &Memcached{Answers: true, Items: 5, Bytes: 100, LimitBytes: 1000, Evictions: 2, Connections: 9}
	if diff := cmp.Diff(want, collected(t, c).Memcached); diff != "" {
		t.Error(diff)
	}
	l.Close()
	f, err := c.Collect(t.Context())
	if err == nil || f == nil {
		t.Fatalf("facts and an error are wanted, got %v", err)
	}
	s := &State{}
	f(s)
	if s.Memcached == nil || s.Memcached.Answers {
		t.Errorf("%+v", s.Memcached)
	}
}

const stats = `# pxname,svname,qcur,scur,stot,econ,eresp,status,bck,check_status,sid,hrsp_5xx,req_tot
database,node01,0,0,10,0,0,DOWN,0,L4CON,1,0,
database,node02,0,3,10,0,0,UP,1,L7OK,2,0,
database,node03,0,0,10,0,0,UP,1,L7OK,3,0,
database,BACKEND,0,3,30,1,0,UP,0,,0,0,
keystone,node01,0,0,4,0,0,MAINT,0,,1,0,4
keystone,BACKEND,2,1,9,1,2,DOWN,0,,0,5,9
nowhere,BACKEND,0,0,0,0,0,UP,0,,0,0,0
`

func TestWriterIsTheServerOfTheStickTable(t *testing.T) {
	table := "# table: database, type: ip, size:16, used:1\n0x55: key=10.3.0.100 use=0 exp=0 shard=0 server_id=3 server_key=node03\n\n"
	socket := filepath.Join(t.TempDir(), "s")
	answers(t, "unix", socket, func(line string) string {
		if strings.HasPrefix(line, "show table") {
			return table
		}
		return stats
	})
	c := haproxyCollector{socket}
	h := collected(t, c).HAProxy
	if h.Writer != "node03" || len(h.Backends) != 2 {
		t.Fatalf("%+v", h)
	}
	if d, k := h.Backends[0], h.Backends[1]; !d.Up || d.Requests != 30 || len(d.Servers) != 3 || k.Up || k.Errors != 3 || k.Failed != 5 || k.Queue != 2 {
		t.Errorf("%+v %+v", d, k)
	}
	// The one that it keeps is down, or it keeps none: the first healthy one.
	for _, table = range []string{strings.Replace(table, "server_id=3", "server_id=1", 1), ""} {
		if w := collected(t, c).HAProxy.Writer; w != "node02" {
			t.Errorf("writer %q, want node02", w)
		}
	}
}

func TestCertificateThatCannotBeReadIsTold(t *testing.T) {
	dir := t.TempDir()
	tlstest.New(t).Issue(t, dir, 2, time.Now(), "node01")
	if err := os.WriteFile(filepath.Join(dir, "broken.pem"), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, c := range collected(t, certificateCollector{[]string{filepath.Join(dir, "*.pem")}, clock.System}).Certificates {
		said[filepath.Base(c.File)] = fmt.Sprint(c.Subject, " broken=", c.Error != "")
		if left := time.Until(c.Expires); c.Error == "" && (left < 50*time.Minute || left > time.Hour) {
			t.Errorf("%s ends in %s", c.File, left)
		}
	}
	want := map[string]string{"broken.pem": " broken=true", "ca.pem": "authority of tests broken=false", "server.pem": "node01 broken=false"}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Error(diff)
	}
	if _, err := (certificateCollector{[]string{"/nowhere/*.pem"}, clock.System}).Collect(t.Context()); err == nil {
		t.Error("no error where there should be files")
	}
}
