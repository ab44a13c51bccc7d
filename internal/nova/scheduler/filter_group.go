package scheduler

import "fmt"

// Policies of server groups.
const (
	Affinity         = "affinity"
	AntiAffinity     = "anti-affinity"
	SoftAffinity     = "soft-affinity"
	SoftAntiAffinity = "soft-anti-affinity"
)

func passAffinity(h *Host, r *Request) (bool, string) {
	if r.GroupPolicy != Affinity || r.GroupSize == 0 || h.GroupMembers > 0 {
		return true, ""
	}
	return false, "the server group wants its members on one host, and they are on another"
}

func passAntiAffinity(h *Host, r *Request) (bool, string) {
	if r.GroupPolicy != AntiAffinity || h.GroupMembers < max(r.MaxPerHost, 1) {
		return true, ""
	}
	return false, fmt.Sprintf("the server group allows %d members on a host", max(r.MaxPerHost, 1))
}
