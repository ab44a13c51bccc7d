package scheduler

import "fmt"

// maxServersPerHost is Nova's default of max_instances_per_host.
const maxServersPerHost = 50

func passCompute(h *Host, _ *Request) (bool, string) {
	switch {
	case h.Disabled:
		return false, "the compute service is disabled"
	case !h.Up:
		return false, "the compute service is down"
	}
	return true, ""
}

func passRetry(h *Host, r *Request) (bool, string) {
	return !r.Exclude[h.Name], "the host failed to build this server before"
}

func passZone(h *Host, r *Request) (bool, string) {
	if r.Zone == "" || h.Zone == r.Zone {
		return true, ""
	}
	return false, fmt.Sprintf("the host is in availability zone %q, not %q", h.Zone, r.Zone)
}

func passForced(h *Host, r *Request) (bool, string) {
	if r.ForceHost != "" && h.Name != r.ForceHost || r.ForceNode != "" && h.Hypervisor != r.ForceNode {
		return false, "another host was asked for by name"
	}
	return true, ""
}

func passSameHost(h *Host, r *Request) (bool, string) {
	return r.SameHosts == nil || r.SameHosts[h.Name], "the hint same_host names a server that is elsewhere"
}

func passDifferentHost(h *Host, r *Request) (bool, string) {
	return !r.DifferentHosts[h.Name], "the hint different_host names a server that is here"
}

func passNumInstances(h *Host, r *Request) (bool, string) {
	// Simulated hosts exist to hold many servers.
	if h.Type == "fake" || h.Servers < maxServersPerHost {
		return true, ""
	}
	return false, fmt.Sprintf("the host has %d servers already", h.Servers)
}
