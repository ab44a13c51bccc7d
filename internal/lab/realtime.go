package lab

import (
	"errors"
	"fmt"
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
	holders := 0
	for _, o := range t.Servers {
		if o.Has(topology.RoleLoadBalancer) {
			holders++
		}
	}
	if !s.Has(topology.RoleLoadBalancer) {
		return 0
	}
	return min(serverRealtime, labRealtime/holders)
}

// ration gives a server, or the lab (""), its real-time share. Only a kernel
// with CONFIG_RT_GROUP_SCHED and a tree per controller gives a new group none;
// there, what the machine does not have itself (EINVAL) it cannot give.
func (c *cgroups) ration(server string, percent int) error {
	dir := c.dir("cpu", server)
	if c.v2 || dir == "" {
		return nil
	}
	for _, s := range []setting{
		{file: "cpu.rt_period_us", value: strconv.Itoa(cpuPeriod)},
		{file: "cpu.rt_runtime_us", value: strconv.Itoa(cpuPeriod * percent / 100)},
	} {
		file, err := os.OpenFile(filepath.Join(dir, s.file), os.O_WRONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			_, err = file.WriteString(s.value)
			err = errors.Join(err, file.Close())
		}
		if err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("give %s/%s its real-time share: %w", c.name, server, err)
		}
	}
	return nil
}
