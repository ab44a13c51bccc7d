package node

func agentFigures() []figure {
	return []figure{
		{"hastack_node_info", "Always 1; labels tell what runs here.", gauge, []string{"node", "version"}, func(s *State, e emit) {
			e(1, s.Server, s.Version)
		}},
		{"hastack_collector_ok", "1 if the agent's collector could look at its subject.", gauge, []string{"collector"}, func(s *State, e emit) {
			for _, c := range s.Collectors {
				if !c.At.IsZero() {
					e(truth(c.Error == ""), c.Name)
				}
			}
		}},
		{"hastack_collector_seconds", "Time of the collector's last look.", gauge, []string{"collector"}, func(s *State, e emit) {
			for _, c := range s.Collectors {
				if !c.At.IsZero() {
					e(c.Took.Seconds(), c.Name)
				}
			}
		}},
	}
}

// host makes the values of figures that a server has once.
func host(value func(h *Host) float64) func(*State, emit) {
	return func(s *State, e emit) {
		if s.Host != nil {
			e(value(s.Host))
		}
	}
}

func disk(value func(d *Disk) float64) func(*State, emit) {
	return func(s *State, e emit) {
		for i := range s.Disks {
			e(value(&s.Disks[i]), s.Disks[i].Path)
		}
	}
}

func hostFigures() []figure {
	onDisk := []string{"path"}
	return []figure{
		{"hastack_host_uptime_seconds", "Time since the server started.", gauge, nil, host(func(h *Host) float64 { return h.Uptime.Seconds() })},
		{"hastack_host_cpus", "Processors of the server.", gauge, nil, host(func(h *Host) float64 { return float64(h.CPUs) })},
		{"hastack_host_load1", "Processes that run or want to, over one minute.", gauge, nil, host(func(h *Host) float64 { return h.Load1 })},
		{"hastack_memory_total_bytes", "Memory of the server.", gauge, nil, host(func(h *Host) float64 { return float64(h.MemoryTotal) })},
		{"hastack_memory_available_bytes", "Memory that programs can still get.", gauge, nil, host(func(h *Host) float64 { return float64(h.MemoryAvailable) })},
		{"hastack_swap_used_bytes", "Swap in use.", gauge, nil, host(func(h *Host) float64 { return float64(h.SwapUsed) })},
		{"hastack_disk_size_bytes", "Size of the file system.", gauge, onDisk, disk(func(d *Disk) float64 { return float64(d.Size) })},
		{"hastack_disk_free_bytes", "Free bytes of the file system.", gauge, onDisk, disk(func(d *Disk) float64 { return float64(d.Free) })},
		{"hastack_disk_inodes", "Inodes of the file system, 0 if it has no limit.", gauge, onDisk, disk(func(d *Disk) float64 { return float64(d.Inodes) })},
		{"hastack_disk_free_inodes", "Free inodes of the file system.", gauge, onDisk, disk(func(d *Disk) float64 { return float64(d.FreeInodes) })},
		{"hastack_disk_readonly", "1 if the file system is mounted read-only.", gauge, onDisk, disk(func(d *Disk) float64 { return truth(d.ReadOnly) })},
		{"hastack_clock_synchronised", "1 if the clock follows a source.", gauge, nil, func(s *State, e emit) {
			if s.Clock != nil {
				e(truth(s.Clock.Synchronised))
			}
		}},
		{"hastack_clock_offset_seconds", "How far the clock is ahead of its source.", gauge, nil, func(s *State, e emit) {
			if s.Clock != nil {
				e(s.Clock.Offset.Seconds())
			}
		}},
		{"hastack_guests", "QEMU processes of servers of the cloud.", gauge, nil, func(s *State, e emit) {
			if s.Guests != nil {
				e(float64(*s.Guests))
			}
		}},
	}
}

func linkFigures() []figure {
	onLeg := []string{"device", "leg", "switch", "network"}
	leg := func(value func(l *Leg) float64) func(*State, emit) {
		return func(s *State, e emit) {
			for _, d := range s.Links {
				for i := range d.Legs {
					e(value(&d.Legs[i]), d.Name, d.Legs[i].Name, d.Legs[i].Switch, d.Network)
				}
			}
		}
	}
	return []figure{
		{"hastack_link_up", "1 if the device has a leg with carrier.", gauge, []string{"device", "network"}, func(s *State, e emit) {
			for _, d := range s.Links {
				e(truth(d.Up), d.Name, d.Network)
			}
		}},
		{"hastack_leg_up", "1 if the leg, a cable to a switch, has carrier.", gauge, onLeg, leg(func(l *Leg) float64 { return truth(l.Carrier) })},
		{"hastack_leg_active", "1 if the leg carries the device's traffic.", gauge, onLeg, leg(func(l *Leg) float64 { return truth(l.Active) })},
		{"hastack_leg_changes_total", "Times that the leg lost or got carrier.", counter, onLeg, leg(func(l *Leg) float64 { return float64(l.Changes) })},
		{"hastack_vip_held", "1 if this server holds the virtual address.", gauge, []string{"vip", "address"}, func(s *State, e emit) {
			for _, v := range s.VIPs {
				e(truth(v.Held), v.Name, v.Address)
			}
		}},
	}
}

func unitFigures() []figure {
	unit := func(value func(u *Unit) float64) func(*State, emit) {
		return func(s *State, e emit) {
			for i := range s.Units {
				e(value(&s.Units[i]), s.Units[i].Name)
			}
		}
	}
	return []figure{
		{"hastack_unit_active", "1 if the systemd unit is active.", gauge, []string{"unit"}, unit(func(u *Unit) float64 { return truth(u.Active == "active") })},
		{"hastack_unit_failed", "1 if systemd has given the unit up.", gauge, []string{"unit"}, unit(func(u *Unit) float64 { return truth(u.Active == "failed") })},
		{"hastack_unit_restarts_total", "Times that systemd restarted the unit by itself.", counter, []string{"unit"}, unit(func(u *Unit) float64 { return float64(u.Restarts) })},
		{"hastack_service_ready", "1 if the service's /healthcheck says that it serves.", gauge, []string{"service"}, func(s *State, e emit) {
			for _, v := range s.Services {
				e(truth(v.Ready), v.Name)
			}
		}},
	}
}

func keyFigures() []figure {
	return []figure{
		{"hastack_certificate_expiry_timestamp_seconds", "When the certificate ends, as a Unix time; 0 if it cannot be read.", gauge,
			[]string{"file", "subject"}, func(s *State, e emit) {
				for _, c := range s.Certificates {
					if c.Error != "" {
						e(0, c.File, c.Subject)
						continue
					}
					e(float64(c.Expires.Unix()), c.File, c.Subject)
				}
			}},
		{"hastack_fernet_keys", "Token keys on this server.", gauge, nil, func(s *State, e emit) {
			if s.Fernet != nil {
				e(float64(s.Fernet.Keys))
			}
		}},
		{"hastack_fernet_key_age_seconds", "Age of the newest token key.", gauge, nil, func(s *State, e emit) {
			if s.Fernet != nil {
				e(s.Time.Sub(s.Fernet.Rotated).Seconds())
			}
		}},
		{"hastack_fernet_primary", "Always 1; the label is the fingerprint of the key that new tokens are made with, equal on all servers.", gauge,
			[]string{"fingerprint"}, func(s *State, e emit) {
				if s.Fernet != nil {
					e(1, s.Fernet.Primary)
				}
			}},
		{"hastack_audit_findings", "Findings of the last audit that were seen in two walks.", gauge, nil, func(s *State, e emit) {
			if s.Audit != nil {
				e(float64(s.Audit.Findings))
			}
		}},
		{"hastack_audit_unseen", "Parts that did not answer the last audit.", gauge, nil, func(s *State, e emit) {
			if s.Audit != nil {
				e(float64(s.Audit.Unseen))
			}
		}},
		{"hastack_audit_age_seconds", "Time since the last audit ended.", gauge, nil, func(s *State, e emit) {
			if s.Audit != nil {
				e(s.Time.Sub(s.Audit.At).Seconds())
			}
		}},
	}
}
