package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
)

// Console implements virt.Driver.
func (d *Driver) Console(_ context.Context, id string, limit int) ([]byte, error) {
	if _, err := d.load(id); err != nil {
		return nil, err
	}
	out, err := tail(d.path(id, fileConsole), limit)
	if err != nil || len(out) >= limit {
		return out, err
	}
	old, err := tail(d.path(id, fileOldLog), limit-len(out))
	return append(old, out...), err
}

// tail reads the last limit bytes of a file; a missing file is empty.
func tail(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() > int64(limit) {
		if _, err := f.Seek(-int64(limit), io.SeekEnd); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(io.LimitReader(f, int64(limit)))
}

// consoleEvery is how often the logs are looked at while guests run.
const consoleEvery = 10 * time.Second

// boundConsoles keeps every console log below its bound, until Close.
func (d *Driver) boundConsoles() {
	defer d.wait.Done()
	tick := d.clock.NewTicker(consoleEvery)
	defer tick.Stop()
	for {
		select {
		case <-d.stop:
			return
		case <-tick.C():
		}
		d.mu.Lock()
		ids := make([]string, 0, len(d.guests))
		for id := range d.guests {
			ids = append(ids, id)
		}
		d.mu.Unlock()
		for _, id := range ids {
			if err := d.rotate(id); err != nil && !errors.Is(err, fs.ErrNotExist) {
				d.log.Warn("console log not rotated", slog.String("server_id", id), slog.Any("error", err))
			}
		}
	}
}

// rotate moves the end of a log that grew too large to the old log. The file
// stays the same one, because QEMU holds it open for appending.
func (d *Driver) rotate(id string) error {
	path := d.path(id, fileConsole)
	st, err := os.Stat(path)
	if err != nil || st.Size() <= d.cfg.ConsoleBytes {
		return err
	}
	keep, err := tail(path, int(d.cfg.ConsoleBytes))
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.path(id, fileOldLog), keep, 0o600); err != nil {
		return err
	}
	return os.Truncate(path, 0)
}

// VNC implements virt.Driver: QEMU listens nowhere, it is handed one end of a
// pair of sockets. So no other process can reach the screen, and an address
// that a later server gets again cannot lead an old console to it.
func (d *Driver) VNC(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	g, err := d.mustRun(id)
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	here, there := os.NewFile(uintptr(pair[0]), "vnc"), os.NewFile(uintptr(pair[1]), "vnc-qemu")
	defer there.Close()
	defer here.Close()
	g.mu.Lock()
	g.vncCount++
	name := "vnc" + strconv.Itoa(g.vncCount)
	g.mu.Unlock()
	if _, err := g.mon.doWithFile(ctx, "getfd", map[string]any{"fdname": name}, there); err != nil {
		return nil, err
	}
	_, err = g.mon.do(ctx, "add_client", map[string]any{"protocol": "vnc", "fdname": name, "skipauth": true})
	if err != nil {
		return nil, err
	}
	return net.FileConn(here)
}

// Diagnostics implements virt.Driver.
func (d *Driver) Diagnostics(ctx context.Context, id string) (*rpc.Diagnostics, error) {
	s, err := d.load(id)
	if err != nil {
		return nil, err
	}
	g, err := d.mustRun(id)
	if err != nil {
		return nil, err
	}
	out := &rpc.Diagnostics{State: "running", Driver: "qemu", Hypervisor: d.accelerator(ctx), HypeOS: runtime.GOOS,
		MemoryMB: s.MemoryMB, VCPUs: s.VCPUs, ConfigDisk: exists(d.path(id, fileDrive))}
	if g.powerState(ctx) == rpc.PowerPaused {
		out.State = "paused"
	}
	out.CPUTimeNS, out.UptimeSec, out.UsedMB = processFigures(g.pid)
	var stats []struct {
		Device string `json:"qdev"`
		Stats  struct {
			ReadBytes  int64 `json:"rd_bytes"`
			ReadOps    int64 `json:"rd_operations"`
			WriteBytes int64 `json:"wr_bytes"`
			WriteOps   int64 `json:"wr_operations"`
			ReadErr    int64 `json:"failed_rd_operations"`
			WriteErr   int64 `json:"failed_wr_operations"`
		} `json:"stats"`
	}
	if err := g.mon.ask(ctx, "query-blockstats", nil, &stats); err != nil {
		return nil, err
	}
	for _, b := range stats {
		out.Disks = append(out.Disks, rpc.DiskDiagnostic{ReadBytes: b.Stats.ReadBytes, ReadRequests: b.Stats.ReadOps,
			WriteBytes: b.Stats.WriteBytes, WriteRequests: b.Stats.WriteOps, Errors: b.Stats.ReadErr + b.Stats.WriteErr})
	}
	for _, n := range s.NICs {
		out.NICs = append(out.NICs, nicFigures(n))
	}
	return out, nil
}

// nicFigures reads the tap's counters, which are the guest's with the two
// directions swapped.
func nicFigures(n virt.NIC) rpc.NICDiagnostic {
	read := func(name string) int64 {
		b, err := os.ReadFile(filepath.Join("/sys/class/net", n.Tap, "statistics", name))
		if err != nil {
			return 0
		}
		v, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		return v
	}
	return rpc.NICDiagnostic{MAC: n.MAC, RxBytes: read("tx_bytes"), RxPackets: read("tx_packets"), RxDrop: read("tx_dropped"),
		TxBytes: read("rx_bytes"), TxPackets: read("rx_packets"), TxDrop: read("rx_dropped")}
}

// processFigures reads what the kernel counts of a process: CPU time, seconds
// since its start, resident MiB. Zeros if it is gone.
func processFigures(pid int) (cpuNS, uptimeSec int64, residentMB int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, 0
	}
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')'):]), " ")
	f := strings.Fields(rest)
	if len(f) < 22 {
		return 0, 0, 0
	}
	num := func(i int) int64 { v, _ := strconv.ParseInt(f[i], 10, 64); return v }
	const hz = 100 // USER_HZ is 100 on every Linux that Go runs on
	cpuNS = (num(11) + num(12)) * int64(time.Second) / hz
	residentMB = int(num(21) * int64(os.Getpagesize()) >> 20)
	if up, err := os.ReadFile("/proc/uptime"); err == nil {
		var now float64
		if _, err := fmt.Sscan(string(up), &now); err == nil {
			uptimeSec = int64(now) - num(19)/hz
		}
	}
	return cpuNS, uptimeSec, residentMB
}

// Inventory implements virt.Driver.
func (d *Driver) Inventory(context.Context) (*rpc.HostAudit, error) {
	out := &rpc.HostAudit{}
	found, err := d.processes()
	if err != nil {
		return nil, err
	}
	for _, p := range found {
		out.Processes = append(out.Processes, rpc.AuditProcess{PID: p.pid, ServerID: p.serverID})
	}
	dirs, err := d.serverIDs()
	if err != nil {
		return nil, err
	}
	owner := map[string]rpc.AuditTap{}
	for _, id := range dirs {
		out.Disks = append(out.Disks, rpc.AuditDisk{ServerID: id, Path: d.dir(id), Bytes: diskUsage(d.dir(id))})
		s, err := d.load(id)
		if err != nil {
			continue // half-made: the directory itself is the finding
		}
		for _, n := range s.NICs {
			owner[n.Tap] = rpc.AuditTap{Name: n.Tap, PortID: n.PortID, ServerID: id}
		}
	}
	names, err := d.taps()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		t := owner[name]
		t.Name = name
		out.Taps = append(out.Taps, t)
	}
	return out, nil
}

// diskUsage counts the blocks that a directory's files really take.
func diskUsage(dir string) (bytes int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Lstat(filepath.Join(dir, e.Name()), &st) == nil {
			bytes += st.Blocks * 512
		}
	}
	return bytes
}

// Bases implements virt.Driver. A definition that cannot be read is an error:
// guessing that it needs nothing could delete its disk's base.
func (d *Driver) Bases(context.Context) ([]string, error) {
	dirs, err := d.serverIDs()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, id := range dirs {
		s, err := d.load(id)
		if fault.Is(err, fault.NotFound) {
			continue // half-made or half-removed: it never ran or never will again
		}
		if err != nil {
			return nil, err
		}
		out = append(out, s.Root.Path)
	}
	return out, nil
}
