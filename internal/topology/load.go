package topology

import (
	"fmt"
	"os"
	"reflect"
)

// Load reads a topology file over the defaults and checks it. What is wrong
// with the content is a [*Problems].
func Load(path string) (*Topology, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read topology: %w", err)
	}
	return Parse(path, b)
}

// Parse is Load of a file's content; name is the file's, for errors.
func Parse(name string, b []byte) (*Topology, error) {
	r := &reader{file: name, problems: Problems{File: name}, lines: map[string]int{}, keys: keys()}
	n, line, err := parseNode(b)
	if err != nil {
		r.problem(line, "%v", err)
		return nil, &r.problems
	}
	t := defaults()
	r.read(n, reflect.ValueOf(t).Elem(), place{}, 0)
	for _, s := range t.Servers {
		if s != nil {
			s.topology = t
		}
	}
	r.check(t)
	if len(r.problems.List) > 0 {
		r.problems.sort()
		return nil, &r.problems
	}
	t.warnings = r.warnings
	return t, nil
}

func defaults() *Topology {
	t := &Topology{Region: "RegionOne", VIPManager: Keepalived, SSH: SSH{User: "root", Port: 22}}
	t.Compute = Compute{Driver: "qemu", Accel: "auto", CPURatio: 16, RAMRatio: 1.5}
	t.Engines.MariaDB.BufferPoolMB, t.Engines.MariaDB.GcacheMB, t.Engines.MariaDB.LogFileMB = 1024, 512, 256
	t.Engines.RabbitMQ.MemoryMB, t.Engines.Memcached.MemoryMB = 2048, 512
	t.Engines.VRRP.AdvertMS = 200
	return t
}
