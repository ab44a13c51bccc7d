package stack

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// A role is a part of a service that a node can be given.
type role struct {
	name  string
	build func(ctx context.Context, s *Stack) error
}

// roleTable lists every role, in the order in which they start.
func roleTable() []role {
	return []role{
		{name: "keystone", build: buildKeystone},
		{name: "glance-api", build: buildGlance},
		{name: "placement", build: buildPlacement},
		{name: "neutron-server", build: buildNeutron},
		{name: "nova-conductor", build: buildConductor},
		{name: "nova-scheduler", build: buildScheduler},
		{name: "nova-api", build: buildNovaAPI},
		{name: "nova-metadata", build: buildMetadata},
		{name: "nova-novncproxy", build: buildNoVNCProxy},
		{name: "neutron-agent", build: buildNetworkAgent},
		{name: "neutron-l2-agent", build: networkPart("l2")},
		{name: "neutron-l3-agent", build: networkPart("l3")},
		{name: "neutron-dhcp-agent", build: networkPart("dhcp")},
		{name: "neutron-metadata-agent", build: networkPart("metadata")},
		{name: "nova-compute", build: buildCompute},
		{name: "auditor", build: buildAuditor},
	}
}

// Roles are the names of the roles that a process can be given.
func Roles() []string {
	var names []string
	for _, r := range roleTable() {
		names = append(names, r.name)
	}
	return names
}

// expand turns "all" into the roles of a one-machine cloud, and refuses names
// that do not exist. One process runs the network agents as one part.
func expand(roles []string) ([]string, error) {
	var out []string
	for _, name := range roles {
		switch {
		case name == "all":
			for _, r := range Roles() {
				if !strings.HasPrefix(r, "neutron-") || r == "neutron-server" || r == "neutron-agent" {
					out = append(out, r)
				}
			}
		case slices.Contains(Roles(), name):
			out = append(out, name)
		default:
			return nil, fmt.Errorf("there is no role %q; roles are all, %s", name, strings.Join(Roles(), ", "))
		}
	}
	return out, nil
}
