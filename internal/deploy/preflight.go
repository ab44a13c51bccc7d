package deploy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/topology"
)

const (
	// maxSkew is how far a server's clock may be off before its first deploy;
	// chrony corrects what is less.
	maxSkew = 5 * time.Minute
	// What a server must have at least.
	controlMemoryMB, otherMemoryMB = 1000, 256
	controlDiskMB, otherDiskMB     = 4096, 1024
	// diskTolerance is by how much a disk may be smaller than it is called.
	diskTolerance = 0.85
)

// preflightScript prints what a server is, with tabs between the fields. Its
// arguments are lines on standard input: addresses that nobody else may have.
// An address is probed with ARP as RFC 5227 says, from 0.0.0.0, so that no
// neighbour's table changes; perl-base is on every Debian system.
const preflightScript = `set -u; export LC_ALL=C
. /etc/os-release
printf 'os\t%s\t%s\n' "$ID" "${VERSION_ID:-}"
printf 'uid\t%s\n' "$(id -u)"
printf 'hostname\t%s\n' "$(hostname)"
printf 'machine\t%s\n' "$(cat /etc/machine-id)"
printf 'cluster\t%s\n' "$(cat /etc/hastack/cluster 2>/dev/null)"
printf 'memory\t%s\n' "$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)"
printf 'disk\t%s\n' "$(df -Pm /var | awk 'NR == 2 { print $4 }')"
printf 'container\t%s\n' "$(systemd-detect-virt -c 2>/dev/null)"
command -v lsblk >/dev/null && lsblk -dbnro TYPE,SIZE 2>/dev/null | awk '$1 == "disk" || $1 ~ /^raid/ { printf "drive\t%s\n", $2 }'
ip -o -4 addr show | awk '{ split($4, a, "/"); print "address\t" a[1] "\t" $2 }'
for f in /sys/class/net/*/address; do printf 'mac\t%s\n' "$(cat $f)"; done
command -v systemctl >/dev/null || printf 'lacks\tsystemd\n'
command -v apt-get >/dev/null || printf 'lacks\tapt-get\n'
perl -e '` + arpProbe + `' 2>/dev/null
printf 'time\t%s\n' "$(date +%s.%N)"
echo end`

// arpProbe asks three times who has each address ("address device" lines on
// standard input) and prints "clash TAB address TAB mac" for answers from
// others than this machine.
const arpProbe = `use Socket; my (%fd, %ip, %own);
for (glob "/sys/class/net/*/address") { open my $f, "<", $_ or next; my $m = <$f>; chomp $m; $own{$m} = 1 }
sub slurp { open my $f, "<", $_[0] or return; my $l = <$f>; chomp $l; $l }
while (<STDIN>) { my ($a, $d) = split; my $i = slurp("/sys/class/net/$d/ifindex") or next; my $m = slurp("/sys/class/net/$d/address");
  my $hw = pack "H12", $m =~ s/://gr; 
  socket(my $s, 17, 3, unpack("S", pack("n", 0x0806))) or next;
  bind $s, pack("S n i S C C a8", 17, 0x0806, $i, 0, 0, 0, "") or next;
  push @all, [$s, $a, "\xff" x 6 . $hw . pack("n n n C C n", 0x0806, 1, 0x0800, 6, 4, 1) . $hw . "\0" x 4 . "\0" x 6 . inet_aton($a)] }
my %seen;
for (1 .. 3) { send $_->[0], $_->[2], 0 for @all; my $end = time + 1; my $left = 0.4;
  for (1 .. 200) { my $r = ""; vec($r, fileno $_->[0], 1) = 1 for @all; my $n; ($n, $left) = select my $o = $r, undef, undef, $left; last if $n <= 0 || time > $end;
    for my $p (@all) { next unless vec $o, fileno $p->[0], 1; recv $p->[0], my $b, 2048, 64 or next; next if length $b < 42 || unpack("n", substr $b, 20, 2) != 2;
      my $m = join ":", unpack "(H2)6", substr $b, 22, 6; my $a = inet_ntoa(substr $b, 28, 4);
      print "clash\t$a\t$m\n" if $a eq $p->[1] && !$own{$m} && !$seen{"$a $m"}++ } } }`

// fact is what a server says of itself.
type facts struct {
	values    map[string]string
	version   string
	drives    []int64 // bytes
	addresses map[string]string
	macs      []string
	clashes   map[string]string // address → who else answers
	lacks     []string
	skew      time.Duration
}

// Preflight looks at all servers at the same time and reports everything that
// makes one unfit. It changes nothing.
func Preflight(ctx context.Context, c *Context) error {
	all := map[string]*facts{}
	var mu sync.Mutex
	unreachable := c.Everywhere(ctx, c.Topology.Servers, func(ctx context.Context, s *topology.Server) error {
		f, err := c.inspect(ctx, s)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		all[s.Name] = f
		return nil
	})
	problems := []error{unreachable}
	for _, s := range c.Topology.Servers {
		if f := all[s.Name]; f != nil {
			problems = append(problems, unfit(c.Topology, s, f)...)
		}
	}
	problems = append(problems, together(c.Topology, all)...)
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("nothing was changed, because not every server is fit:\n%w", err)
	}
	return nil
}

// inspect asks one server.
func (c *Context) inspect(ctx context.Context, s *topology.Server) (*facts, error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	var probes strings.Builder
	for _, name := range s.Networks() {
		fmt.Fprintf(&probes, "%s %s\n", s.Address(name), c.Topology.Networks[name].Device)
		for _, v := range c.Topology.VIPs {
			if v.Network == name {
				fmt.Fprintf(&probes, "%s %s\n", v.Address, c.Topology.Networks[name].Device)
			}
		}
	}
	out, err := c.Run(ctx, s, preflightScript, strings.NewReader(probes.String()))
	if err != nil {
		return nil, err
	}
	now := c.Clock.Now()
	f := &facts{values: map[string]string{}, addresses: map[string]string{}, clashes: map[string]string{}}
	text, whole := strings.CutSuffix(string(out), "end\n")
	if !whole {
		return nil, fmt.Errorf("%s: the answer is cut off", s.Name)
	}
	for line := range strings.Lines(text) {
		v := append(strings.Split(strings.TrimSuffix(line, "\n"), "\t"), "", "")
		switch v[0] {
		case "os":
			f.values["os"], f.version = v[1], v[2]
		case "drive":
			n, _ := strconv.ParseInt(v[1], 10, 64)
			f.drives = append(f.drives, n)
		case "address":
			f.addresses[v[1]] = v[2]
		case "mac":
			f.macs = append(f.macs, v[1])
		case "clash":
			f.clashes[v[1]] = v[2]
		case "lacks":
			f.lacks = append(f.lacks, v[1])
		case "time":
			t, _ := strconv.ParseFloat(v[1], 64)
			f.skew = time.Duration((t - float64(now.UnixNano())/1e9) * float64(time.Second))
		default:
			f.values[v[0]] = v[1]
		}
	}
	return f, nil
}

// unfit are the problems of one server.
func unfit(t *topology.Topology, s *topology.Server, f *facts) []error {
	var out []error
	bad := func(format string, args ...any) {
		out = append(out, fmt.Errorf(s.Name+": "+format, args...))
	}
	if f.values["os"] != "debian" || f.version != "12" {
		bad("it runs %s %s, Debian 12 is needed: install Debian 12 (bookworm) on it", f.values["os"], f.version)
	}
	if f.values["uid"] != "0" {
		bad("user %s is not root there: let it run sudo without a password, or set ssh.user to root", t.SSH.User)
	}
	for _, what := range f.lacks {
		bad("%s is missing: install a standard Debian 12", what)
	}
	if f.skew.Abs() > maxSkew {
		bad("its clock is %s off: set it (date -u -s @%s)", f.skew.Round(time.Second), "SECONDS")
	}
	if name := f.values["hostname"]; name != s.Name && t.Server(name) != nil {
		bad("the machine at %s calls itself %s, which is another server of the topology: check the cabling and host numbers", s.Management(), name)
	}
	if other := f.values["cluster"]; other != "" && other != t.Name {
		bad("it belongs to cluster %s: take it out there first (hastack node remove), or install it anew", other)
	}
	out = append(out, addresses(t, s, f)...)
	return append(out, resources(t, s, f)...)
}

func addresses(t *topology.Topology, s *topology.Server, f *facts) []error {
	var out []error
	for _, name := range s.Networks() {
		addr, n := s.Address(name).String(), t.Networks[name]
		if _, has := f.addresses[addr]; !has {
			out = append(out, fmt.Errorf("%s: it has no address %s on the %s network: configure it on %s", s.Name, addr, name, n.Device))
		}
		if mac := f.clashes[addr]; mac != "" {
			out = append(out, fmt.Errorf("%s: another machine (%s) answers for its address %s on the %s network: give one of them another", s.Name, mac, addr, name))
		}
	}
	return out
}

// resources checks memory and disks.
func resources(t *topology.Topology, s *topology.Server, f *facts) []error {
	var out []error
	memory, disk := otherMemoryMB, otherDiskMB
	if s.Has(topology.RoleControl) {
		memory, disk = controlMemoryMB, controlDiskMB
	}
	if n, _ := strconv.Atoi(f.values["memory"]); n < memory {
		out = append(out, fmt.Errorf("%s: it has %d MiB of memory, %d are needed: add memory", s.Name, n, memory))
	}
	if n, _ := strconv.Atoi(f.values["disk"]); n < disk {
		out = append(out, fmt.Errorf("%s: %d MiB are free on the disk of /var, %d are needed: free some", s.Name, n, disk))
	}
	hw := t.Hardware[s.Hardware]
	// The block devices that a container sees are those of its host.
	if hw == nil || f.values["container"] != "none" {
		return out
	}
	drives := slices.Sorted(slices.Values(f.drives))
	for _, d := range hw.Disks {
		need := int64(math.Round(float64(d.GB) * 1e9 * diskTolerance))
		have := 0
		for _, size := range drives {
			if size >= need {
				have++
			}
		}
		want := d.Count
		if d.RAID != "" {
			want = 1 // a hardware RAID shows as one disk
		}
		if have < want {
			out = append(out, fmt.Errorf("%s: %d disks of %d GB are needed (%s), it has %d: add them, or correct hardware %s in the topology", s.Name, want, d.GB, d.Use, have, s.Hardware))
		}
	}
	return out
}

// together are the problems that show when servers are compared.
func together(t *topology.Topology, all map[string]*facts) []error {
	var out []error
	machines, ours := map[string]string{}, map[string]bool{}
	for _, s := range t.Servers {
		f := all[s.Name]
		if f == nil {
			continue
		}
		for _, mac := range f.macs {
			ours[mac] = true
		}
		id := f.values["machine"]
		if other := machines[id]; other != "" {
			out = append(out, fmt.Errorf("%s: it has the same machine id as %s: they are one machine or one copy (rm /etc/machine-id; systemd-machine-id-setup; reboot)", s.Name, other))
		}
		machines[id] = s.Name
	}
	told := map[string]bool{}
	for _, v := range t.VIPs {
		addr := v.Address.String()
		for _, s := range t.Servers {
			f := all[s.Name]
			if f == nil || f.clashes[addr] == "" || ours[f.clashes[addr]] || told[addr] {
				continue
			}
			told[addr] = true
			out = append(out, fmt.Errorf("VIP %s: another machine (%s, seen by %s) answers for %s: choose another address, or take it from that machine", v.Name, f.clashes[addr], s.Name, addr))
		}
	}
	return out
}
