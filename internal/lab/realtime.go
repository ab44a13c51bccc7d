package lab

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/topology"
)

// The share of each processor that a lab and a server of it may use with
// real-time scheduling, in percent. Keepalived needs a tenth of one.
const (
	labRealtime    = 40
	serverRealtime = 10
)

// realtime is the share of a server. Keepalived and Corosync, which move the
// virtual addresses, ask for real-time scheduling, so that they give their signs
// of life however busy the server is.
func realtime(t *topology.Topology, s *topology.Server) (percent int) {
	if !s.Has(topology.RoleLoadBalancer) {
		return 0
	}
	return min(serverRealtime, labRealtime/len(t.With(topology.RoleLoadBalancer)))
}

// ration gives a server, or the lab (""), its real-time share. Only a kernel
// with CONFIG_RT_GROUP_SCHED and a tree per controller gives a new group none;
// there, what the machine does not have itself (EINVAL) it cannot give.
func (c *cgroups) ration(server string, percent int) error {
	const runtime = "cpu.rt_runtime_us"
	if _, err := os.Stat(filepath.Join(c.dir("cpu", server), runtime)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := c.set(server, []setting{
		{"cpu", "cpu.rt_period_us", strconv.Itoa(cpuPeriod)}, {"cpu", runtime, strconv.Itoa(cpuPeriod * percent / 100)},
	})
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}
