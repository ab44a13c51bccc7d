package dataplane_test

import (
	"fmt"
	"testing"
	"time"

	dt "github.com/hastack/hastack/internal/neutron/dataplane/dataplanetest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

func TestSec57SourceGroupRulesAreLinear(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	const groups, members = 100, 1000
	h := newHost(t, dataplaneConfig())
	st := state(nil, []*rpc.NetworkState{network(netA)})
	addrs := make([]string, members)
	for i := range addrs {
		addrs[i] = fmt.Sprintf("10.2.%d.%d", i/250, i%250+1)
	}
	for i := range groups {
		id := fmt.Sprintf("99999999-0000-4000-8000-%012d", i)
		remote := fmt.Sprintf("99999999-0000-4000-8000-%012d", (i+1)%groups)
		st.Groups[id] = group(id, rpc.SecurityGroupRule{ID: "r", Direction: "ingress", EtherType: "IPv4", RemoteGroupID: remote})
		st.Groups[id].Members = addrs
		pid := fmt.Sprintf("%08d-1111-4000-8000-000000000001", i)
		st.Ports[pid] = port(pid, netA, fmt.Sprintf("fa:16:3e:00:01:%02x", i), fmt.Sprintf("10.2.9.%d", i+1), id)
	}
	reconcile(t, h, st)
	// The best of a few: the machine has other things to do.
	best := time.Hour
	for i := range 5 {
		one := fmt.Sprintf("99999999-0000-4000-8000-%012d", 7)
		st.Groups[one] = group(one, rpc.SecurityGroupRule{ID: "r", Direction: "ingress", EtherType: "IPv4", RemoteGroupID: one})
		st.Groups[one].Members = addrs[:members-1-i]
		began := time.Now()
		reconcile(t, h, st)
		best = min(best, time.Since(began))
	}
	if best > time.Second {
		t.Errorf("a rule change takes %s", best)
	}
}
