package novaapi

import "github.com/hastack/hastack/internal/nova/rpc"

// viewDiagnostics is the form since microversion 2.48.
func viewDiagnostics(d *rpc.Diagnostics) map[string]any {
	cpus := []map[string]any{}
	for i := range d.VCPUs {
		cpus = append(cpus, map[string]any{"id": i, "time": d.CPUTimeNS / int64(max(d.VCPUs, 1)), "utilisation": nil})
	}
	disks := []map[string]any{}
	for _, k := range d.Disks {
		disks = append(disks, map[string]any{"read_bytes": k.ReadBytes, "read_requests": k.ReadRequests,
			"write_bytes": k.WriteBytes, "write_requests": k.WriteRequests, "errors_count": k.Errors})
	}
	nics := []map[string]any{}
	for _, n := range d.NICs {
		nics = append(nics, map[string]any{"mac_address": n.MAC, "rx_octets": n.RxBytes, "rx_packets": n.RxPackets, "rx_drop": n.RxDrop,
			"rx_errors": 0, "rx_rate": nil, "tx_octets": n.TxBytes, "tx_packets": n.TxPackets, "tx_drop": n.TxDrop, "tx_errors": 0, "tx_rate": nil})
	}
	return map[string]any{"state": d.State, "driver": d.Driver, "hypervisor": d.Hypervisor, "hypervisor_os": d.HypeOS,
		"uptime": d.UptimeSec, "config_drive": d.ConfigDisk, "num_cpus": d.VCPUs, "num_nics": len(d.NICs), "num_disks": len(d.Disks),
		"memory_details": map[string]any{"maximum": d.MemoryMB, "used": d.UsedMB},
		"cpu_details":    cpus, "disk_details": disks, "nic_details": nics}
}

// viewOldDiagnostics is the flat form before 2.48.
func viewOldDiagnostics(d *rpc.Diagnostics) map[string]any {
	out := map[string]any{"memory": d.MemoryMB << 10}
	for i := range d.VCPUs {
		out["cpu"+itoa(i)+"_time"] = d.CPUTimeNS / int64(max(d.VCPUs, 1))
	}
	for i, k := range d.Disks {
		p := "vd" + string(rune('a'+i))
		out[p+"_read"], out[p+"_read_req"], out[p+"_write"], out[p+"_write_req"], out[p+"_errors"] =
			k.ReadBytes, k.ReadRequests, k.WriteBytes, k.WriteRequests, k.Errors
	}
	for i, n := range d.NICs {
		p := "vnet" + itoa(i)
		out[p+"_rx"], out[p+"_rx_packets"], out[p+"_rx_drop"], out[p+"_rx_errors"] = n.RxBytes, n.RxPackets, n.RxDrop, 0
		out[p+"_tx"], out[p+"_tx_packets"], out[p+"_tx_drop"], out[p+"_tx_errors"] = n.TxBytes, n.TxPackets, n.TxDrop, 0
	}
	return out
}
