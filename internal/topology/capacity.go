package topology

// Capacity is what the servers of one role bring, by their hardware models.
type Capacity struct {
	Role     string `json:"role"`
	Servers  int    `json:"servers"`
	Unknown  int    `json:"unknown,omitempty"` // servers without a model
	Cores    int    `json:"cores"`
	MemoryGB int    `json:"memory_gb"`
	// Disks are by use, in the order system, data, ephemeral, volumes, objects.
	Disks []DiskCapacity `json:"disks,omitempty"`
}

// DiskCapacity is the disks of one use, together.
type DiskCapacity struct {
	Use      string `json:"use"`
	RawGB    int    `json:"raw_gb"`
	UsableGB int    `json:"usable_gb"` // after RAID; objects at three replicas
}

// usableGB is what RAID leaves of equal disks. Objects have no RAID: each is
// on three disks instead.
func (d Disks) usableGB() int {
	raw := d.Count * d.GB
	switch {
	case d.RAID == "raid1":
		return raw / 2
	case d.RAID == "raid6":
		return raw - 2*d.GB
	case d.Use == "objects":
		return raw / 3
	}
	return raw
}

// Capacity is what the cluster has, by role, in the roles' order. A server
// with several roles is in each of them.
func (t *Topology) Capacity() []Capacity {
	var out []Capacity
	for _, role := range Roles() {
		servers := t.With(role)
		if len(servers) == 0 {
			continue
		}
		c := Capacity{Role: role, Servers: len(servers)}
		disks := map[string]DiskCapacity{}
		for _, s := range servers {
			h := t.Hardware[s.Hardware]
			if h == nil {
				c.Unknown++
				continue
			}
			c.Cores += h.Cores
			c.MemoryGB += h.MemoryGB
			for _, d := range h.Disks {
				sum := disks[d.Use]
				disks[d.Use] = DiskCapacity{d.Use, sum.RawGB + d.Count*d.GB, sum.UsableGB + d.usableGB()}
			}
		}
		for _, use := range keys()["hardware.*.disks.use"].words {
			if d, ok := disks[use]; ok {
				c.Disks = append(c.Disks, d)
			}
		}
		out = append(out, c)
	}
	return out
}
