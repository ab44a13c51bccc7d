package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/crypto/ssh"

	"github.com/hastack/hastack/internal/topology"
)

// TestMain lets this test's program be the fabric process of its labs.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "fabric" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := RunFabric(ctx, os.Args[2], os.Args[3], slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A bench is a lab of three servers with what the tests need.
type bench struct {
	*testing.T
	*Lab
	options Options
}

// options makes the topology of a lab of its own name, or skips the test.
func options(t *testing.T) Options {
	t.Helper()
	name := fmt.Sprintf("t%d", os.Getpid()%1_000_000)
	if os.Geteuid() != 0 {
		t.Skip("a lab needs root")
	}
	if err := checkMachine(newCgroups("hl-test")); err != nil {
		t.Skip(err)
	}
	packages := filepath.Join(DefaultCache, "packages-"+layerKey(BasePackages(), ClusterPackages()))
	if _, err := os.Stat(filepath.Join(packages, "var/lib/dpkg/status")); err != nil {
		t.Skip("the servers' root is not in the cache: hastack lab up makes it")
	}
	b, err := os.ReadFile("../../examples/three.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "topology.yaml")
	text := strings.Replace(string(b), "\nname: three\n", "\nname: "+name+"\n", 1)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	t.Cleanup(func() {
		if err := Down(context.Background(), state, name); err != nil {
			t.Error(err)
		}
		nothingLeft(t, state, name)
	})
	return Options{StateDir: state, TopologyFile: file, Fabric: []string{self, "fabric", state, name}}
}

// nothingLeft looks for everything that has the lab's name.
func nothingLeft(t *testing.T, state, name string) {
	t.Helper()
	for _, pattern := range []string{nsDir + "/hl-" + name + "*", cgroupRoot + "/hl-" + name, cgroupRoot + "/*/hl-" + name,
		registry + "/" + name, state + "/*", "/run/systemd/nspawn/*/hl-" + name + "*"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) > 0 {
			t.Errorf("left behind: %v %v", found, err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || bytes.Contains(mounts, []byte(state)) || bytes.Contains(mounts, []byte("hl-"+name)) {
		t.Errorf("a mount is left behind (%v)", err)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Error(err)
	}
	for _, p := range processes {
		if b, err := os.ReadFile(p); err == nil && bytes.Contains(b, []byte(state)) {
			t.Errorf("a process is left behind: %q", b)
		}
	}
}

func newBench(t *testing.T) *bench {
	t.Helper()
	o := options(t)
	l, err := Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{T: t, Lab: l, options: o}
}

// must fails the test on an error.
func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// greets waits for a server's sshd, a minute at most: a test that runs into the
// limit of its package would leave the lab behind.
func (b *bench) greets(server string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	b.must(b.WaitSSH(ctx, server))
}

// run runs a command on a server over ssh.
func (b *bench) run(server, command string) string {
	b.Helper()
	key, err := os.ReadFile(b.Key())
	b.must(err)
	signer, err := ssh.ParsePrivateKey(key)
	b.must(err)
	address := net.JoinHostPort(b.topology.Server(server).Management().String(), "22")
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	conn, err := b.Dial(ctx, "tcp", address)
	b.must(err)
	c, chans, reqs, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{User: "root",
		Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	b.must(err)
	client := ssh.NewClient(c, chans, reqs)
	defer client.Close()
	session, err := client.NewSession()
	b.must(err)
	out, err := session.CombinedOutput(command)
	if err != nil {
		b.Fatalf("%s: %s: %v: %s", server, command, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (b *bench) link(name string) LinkStatus {
	b.Helper()
	st, err := b.Status(b.Context())
	b.must(err)
	for _, s := range st.Servers {
		for _, l := range s.Links {
			if l.Name == name {
				return l
			}
		}
	}
	b.Fatalf("no link %s", name)
	return LinkStatus{}
}

func TestLab(t *testing.T) {
	b := newBench(t)
	if got := b.run("node02", "hostname; systemctl is-system-running --wait || systemctl --failed --no-legend"); got != "node02\nrunning" {
		t.Errorf("node02 is %q", got)
	}
	t.Run("each has its own control groups", func(t *testing.T) { b.sub(t).ownGroups() })
	t.Run("real time for those who ask", func(t *testing.T) { b.sub(t).realTime() })
	t.Run("a leg takes over", func(t *testing.T) { b.sub(t).legTakesOver() })
	t.Run("a switch takes every leg of it", func(t *testing.T) { b.sub(t).switchIsCut() })
	t.Run("a loop is opened", func(t *testing.T) { b.sub(t).loopIsOpened() })
	t.Run("one way only", func(t *testing.T) { b.sub(t).oneWay() })
	t.Run("frozen and thawed", func(t *testing.T) { b.sub(t).frozen() })
	t.Run("killed and started", func(t *testing.T) { b.sub(t).killed() })
	t.Run("stopped in order", func(t *testing.T) { b.sub(t).stopped() })
	t.Run("no way out", func(t *testing.T) { b.sub(t).noWayOut() })
	t.Run("up again completes", func(t *testing.T) { b.sub(t).completes() })
}

func (b *bench) sub(t *testing.T) *bench { return &bench{T: t, Lab: b.Lab, options: b.options} }

// ownGroups stops units of the same name on two servers; each systemd must see
// its own processes only, or it fails to end them.
func (b *bench) ownGroups() {
	for _, s := range []string{"node01", "node02"} {
		b.run(s, "systemd-run --quiet --unit=sleeper sleep 1000")
	}
	if got := b.run("node01", "systemd-cgls --no-pager /system.slice/sleeper.service | grep -c sleep"); got != "2" { // the unit's line and its process
		b.Errorf("node01 finds %s lines of its sleeper, want 2", got)
	}
	b.run("node01", "systemctl stop sleeper")
	if got := b.run("node01", "journalctl -b -o cat | grep -c 'Failed to kill control group' || true"); got != "0" {
		b.Error("a unit's control group cannot be ended: it is shared with another server")
	}
	if got := b.run("node02", "systemctl is-active sleeper"); got != "active" {
		b.Errorf("the sleeper of node02 is %s", got)
	}
}

// realTime asks for what keepalived asks for: a server has it where the machine
// itself does.
func (b *bench) realTime() {
	const ask = "chrt --fifo 20 true 2>/dev/null && echo granted || echo refused"
	machine, err := exec.Command("/bin/sh", "-c", ask).Output()
	b.must(err)
	if got := b.run("node03", ask); got != strings.TrimSpace(string(machine)) {
		b.Errorf("real-time scheduling is %s on node03, %s on the machine", got, machine)
	}
}

// longestGap knocks at a closed port of a server (sshd would refuse so many) all
// the time while f runs and for a moment after it, and returns the longest time
// without an answer.
func (b *bench) longestGap(server string, f func()) time.Duration {
	stop, gap := make(chan struct{}), make(chan time.Duration)
	address := net.JoinHostPort(b.topology.Server(server).Management().String(), "9")
	go func() {
		last, longest := time.Now(), time.Duration(0)
		for {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			if _, err := b.Dial(ctx, "tcp", address); errors.Is(err, syscall.ECONNREFUSED) {
				longest, last = max(longest, time.Since(last)), time.Now()
			}
			cancel()
			select {
			case <-stop:
				gap <- max(longest, time.Since(last))
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	f()
	time.Sleep(1500 * time.Millisecond)
	close(stop)
	return <-gap
}

func (b *bench) legTakesOver() {
	if l := b.link("node01/bond0l1"); !l.Active {
		b.Fatal("the first leg is not the active one")
	}
	gap := b.longestGap("node01", func() { b.must(b.Cut(b.Context(), "node01/bond0l1")) })
	b.Logf("longest silence %v", gap)
	if gap > time.Second {
		b.Errorf("node01 was silent for %v after the cut of a leg", gap)
	}
	if one, two := b.link("node01/bond0l1"), b.link("node01/bond0l2"); one.Up || one.Active || !two.Active {
		b.Errorf("after the cut: %+v %+v", one, two)
	}
	b.must(b.Heal(b.Context(), "node01/bond0l1"))
	time.Sleep(200 * time.Millisecond)
	if two := b.link("node01/bond0l2"); !two.Active {
		b.Error("the device went back to the first leg for nothing")
	}
	b.must(b.Cut(b.Context(), "node01/management"))
	ctx, cancel := context.WithTimeout(b.Context(), time.Second)
	defer cancel()
	if err := b.WaitSSH(ctx, "node01"); err == nil {
		b.Error("node01 answers with both legs cut")
	}
	if b.deviceCarrier("node01", "bond0") {
		b.Error("bond0 has a carrier with both legs cut")
	}
	b.must(b.Heal(b.Context(), "node01/management"))
	b.greets("node01")
}

// deviceCarrier is what the server's programs see of a device.
func (b *bench) deviceCarrier(server, device string) (up bool) {
	b.Helper()
	b.must(withLinks(b.nsName(server), func(h *netlink.Handle) error {
		link, err := h.LinkByName(device)
		up = err == nil && carrier(link)
		return err
	}))
	return up
}

// loopIsOpened puts the second leg in, too: frames would go round for ever.
func (b *bench) loopIsOpened() {
	b.must(withLinks(b.nsName("node02"), func(h *netlink.Handle) error {
		links, err := linksByName(h, []string{"bond0", "bond0l1", "bond0l2"})
		if err != nil {
			return err
		}
		return errors.Join(h.LinkSetMaster(links[1], links[0]), h.LinkSetMaster(links[2], links[0]))
	}))
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if one, two := b.link("node02/bond0l1"), b.link("node02/bond0l2"); one.Active != two.Active {
			break
		}
		if time.Now().After(deadline) {
			b.Fatal("bond0 of node02 still has both legs")
		}
	}
	b.greets("node02")
}

func (b *bench) switchIsCut() {
	b.must(b.Cut(b.Context(), "tor-b"))
	for _, s := range b.Servers() {
		b.greets(s)
	}
	if up := b.link("node03/bond2l2").Up; up {
		b.Error("node03/bond2l2 is plugged into a switch that is off")
	}
	b.must(b.HealAll(b.Context()))
}

// hears tells whether a broadcast of one server reaches another.
func (b *bench) hears(from, to string) bool {
	b.Helper()
	var in net.PacketConn
	var out net.Conn
	b.must(inNS(b.nsName(to), func() (err error) { in, err = net.ListenPacket("udp4", ":9999"); return err }))
	defer in.Close()
	b.must(inNS(b.nsName(from), func() (err error) { out, err = net.Dial("udp4", "10.3.0.255:9999"); return err }))
	defer out.Close()
	buf := make([]byte, 64)
	for range 10 {
		_, err := out.Write([]byte(from))
		b.must(err)
		b.must(in.SetReadDeadline(time.Now().Add(50 * time.Millisecond)))
		if n, _, err := in.ReadFrom(buf); err == nil && string(buf[:n]) == from {
			return true
		}
	}
	return false
}

func (b *bench) oneWay() {
	expect := func(what string, want bool, from, to string) {
		b.Helper()
		if got := b.hears(from, to); got != want {
			b.Errorf("%s: %s hears %s: %v, want %v", what, to, from, got, want)
		}
	}
	expect("whole", true, "node01", "node02")
	b.must(b.Drop(b.Context(), "node01", "node02", topology.Management, 100))
	expect("dropped", false, "node01", "node02")
	expect("dropped", true, "node02", "node01")
	expect("dropped", true, "node01", "node03")
	// The frame takes the way over both switches now, and is dropped all the same.
	b.must(b.Cut(b.Context(), "node02/bond0l1"))
	time.Sleep(300 * time.Millisecond)
	expect("dropped, other leg", false, "node01", "node02")
	expect("dropped, other leg", true, "node02", "node01")
	b.must(b.HealAll(b.Context()))
	expect("healed", true, "node01", "node02")
	b.must(b.OneWay(b.Context(), "node03", topology.Management, true))
	expect("deaf", false, "node01", "node03")
	expect("deaf", true, "node03", "node01")
	b.must(b.HealAll(b.Context()))
	b.must(b.OneWay(b.Context(), "node03", topology.Management, false))
	expect("mute", true, "node01", "node03")
	expect("mute", false, "node03", "node01")
	b.must(b.HealAll(b.Context()))
}

func (b *bench) frozen() {
	b.must(b.Freeze(b.Context(), "node01"))
	ctx, cancel := context.WithTimeout(b.Context(), time.Second)
	defer cancel()
	if err := b.WaitSSH(ctx, "node01"); err == nil {
		b.Error("a frozen server greets")
	}
	if p, err := b.Power("node01"); p != Frozen {
		b.Errorf("power %s %v, want %s", p, err, Frozen)
	}
	b.must(b.Thaw(b.Context(), "node01"))
	b.greets("node01")
	b.must(b.Freeze(b.Context(), "node01"))
	b.must(b.Kill(b.Context(), "node01")) // a frozen server has a power cord, too
	b.must(b.Start(b.Context(), "node01"))
	b.greets("node01")
}

func (b *bench) killed() {
	b.run("node03", "echo kept >/root/disk; echo lost >/run/memory; sync; ip netns add inner; ip link add vx type vxlan id 7 dstport 4789; ip addr add 10.3.0.99/24 dev bond0")
	before := nsInode(b.nsName("node03"))
	b.must(b.Kill(b.Context(), "node03"))
	if p, err := b.Power("node03"); p != Off || err != nil {
		b.Fatalf("power %s %v, want %s", p, err, Off)
	}
	b.must(b.Kill(b.Context(), "node03")) // twice is once
	if b.link("node03/bond0l1").Up {
		b.Error("a server without power has a carrier")
	}
	b.must(b.Start(b.Context(), "node03"))
	b.must(b.Start(b.Context(), "node03"))
	b.greets("node03")
	if after := nsInode(b.nsName("node03")); after == before || after == 0 {
		b.Errorf("the server has the namespace %d of its last life", after)
	}
	got := b.run("node03", "cat /root/disk; cat /run/memory 2>&1 | grep -c No; ip netns list; ip -o link show type vxlan; ip -o addr | grep -c 10.3.0.99 || true")
	if got != "kept\n1\n0" {
		b.Errorf("after the power came back: %q, want the disk and nothing else", got)
	}
	cut := time.Now()
	gap := b.longestGap("node03", func() { b.must(b.Cut(b.Context(), "node03/bond0l1")) })
	if gap > time.Second {
		log, err := os.ReadFile(filepath.Join(b.dir, "fabric.log"))
		b.Errorf("the restarted server has no second leg: silent for %v, cut at %v; the fabric process: %s %v", gap, cut, log, err)
	}
	b.must(b.HealAll(b.Context()))
}

func (b *bench) stopped() {
	ctx, cancel := context.WithTimeout(b.Context(), 60*time.Second)
	defer cancel()
	b.run("node02", "systemctl start systemd-journald; printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStop=/bin/sh -c \"echo bye >/root/bye\"\\n' >/etc/systemd/system/bye.service; systemctl daemon-reload; systemctl start bye")
	b.must(b.Stop(ctx, "node02"))
	b.must(b.Start(ctx, "node02"))
	b.greets("node02")
	if got := b.run("node02", "cat /root/bye"); got != "bye" {
		b.Errorf("the server was not shut down in order: %q", got)
	}
}

func (b *bench) noWayOut() {
	for _, ns := range []string{"node01", Operator, fabricName} {
		err := inNS(b.nsName(ns), func() error {
			ifs, err := net.Interfaces()
			for _, i := range ifs {
				if i.Name != "lo" && !strings.HasPrefix(i.Name, "bond") && !strings.HasPrefix(i.Name, "p") &&
					!strings.HasPrefix(i.Name, "sw") && !strings.HasPrefix(i.Name, "up") {
					b.Errorf("%s has an interface %s", ns, i.Name)
				}
			}
			conn, derr := net.DialTimeout("udp4", "192.0.2.1:9", time.Second)
			if derr == nil {
				conn.Close()
				b.Errorf("%s has a way to the world", ns)
			}
			return err
		})
		b.must(err)
	}
}

func (b *bench) completes() {
	b.must(b.Kill(b.Context(), "node01"))
	pids, err := b.cgroups.pids(fabricName)
	b.must(err)
	for _, p := range pids {
		b.must(syscall.Kill(p, syscall.SIGKILL))
	}
	b.must(b.gone(b.Context(), fabricName))
	_, err = Up(b.Context(), b.options)
	b.must(err)
	st, err := b.Status(b.Context())
	b.must(err)
	if st.Fabric != Running || slices.ContainsFunc(st.Servers, func(s ServerStatus) bool { return s.Power != Running }) {
		b.Errorf("after a second up: %+v", st)
	}
}

// A lab that was interrupted while it was made can be removed and completed.
func TestUpThatWasInterrupted(t *testing.T) {
	o := options(t)
	for _, after := range []time.Duration{20, 80, 160, 320, 500} {
		ctx, cancel := context.WithTimeout(t.Context(), after*time.Millisecond)
		l, err := Up(ctx, o)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Logf("interrupted after %d ms: %v", after, err)
		}
		if l != nil && after > 300 {
			if err := Down(t.Context(), o.StateDir, l.name); err != nil {
				t.Fatal(err)
			}
			nothingLeft(t, o.StateDir, l.name)
		}
	}
	if _, err := Up(t.Context(), o); err != nil {
		t.Fatalf("a lab that was interrupted is not completed: %v", err)
	}
}
