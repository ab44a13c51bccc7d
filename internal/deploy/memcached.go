package deploy

import (
	"fmt"

	"github.com/hastack/hastack/internal/topology"
)

const memcachedUnit = "memcached.service"

// memcachedPart is the cache on the control servers. The members know nothing
// of each other: clients spread the keys, and a miss is never an error.
func memcachedPart() *Part {
	return &Part{Name: "memcached", Servers: controlServers, Want: wantMemcached}
}

func wantMemcached(c *Context, s *topology.Server) (*Want, error) {
	restart := []string{memcachedUnit}
	return &Want{
		Packages: []string{"memcached"},
		Files: []File{
			{
				Path: "/etc/memcached.conf", Mode: 0o644, Restart: restart,
				Content: fmt.Appendf(nil, `# Written by hastack deploy; changes made here are drift and are undone.
# doc/ops/database.md
-l %s
-p 11211
-U 0
-u memcache
-m %d
-c 4096
-t 2
`, s.Management(), c.Topology.Engines.Memcached.MemoryMB),
			},
			{
				Path: "/etc/systemd/system/memcached.service.d/hastack.conf", Mode: 0o644, Restart: restart,
				Content: []byte("[Unit]\nStartLimitIntervalSec=0\n\n[Service]\nRestart=always\nRestartSec=1\n"),
			},
		},
		Units: []Unit{{Name: memcachedUnit, Enabled: true, Running: true}},
	}, nil
}
