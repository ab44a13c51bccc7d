package topology

import (
	"bytes"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"
)

// Load reads a topology file over the defaults and checks it.
func Load(path string) (*Topology, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read topology: %w", err)
	}
	return Parse(path, b)
}

// Parse is Load of a file's content; name is the file's, for errors.
func Parse(name string, b []byte) (*Topology, error) {
	t := defaults()
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(t); err != nil {
		return nil, fmt.Errorf("topology %s: %w", name, err)
	}
	for _, s := range t.Servers {
		s.topology = t
	}
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
