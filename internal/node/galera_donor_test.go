package node

import (
	"testing"
	"time"
)

// A cluster that serves, in which the members have these states; "" is in sync.
func servingCluster(t *testing.T, states ...string) *fakeCluster {
	t.Helper()
	c := newFakeCluster(t, make([]int64, len(states))...)
	for i, m := range c.members {
		m.primary, m.state = true, states[i]
	}
	return c
}

func TestADonorThatNobodyTakesACopyOfIsRestarted(t *testing.T) {
	for _, states := range [][]string{{"", "", galeraDonor}, {galeraDonor, ""}, {galeraDonor, galeraDonor, ""}, {"", galeraDonor, "", galeraDonor, galeraDonor}} {
		c := servingCluster(t, states...)
		c.steps(10)
		for _, m := range c.members {
			if m.starts > 0 {
				t.Errorf("%q: %s was restarted before anybody could have ended by itself", states, m.name)
			}
		}
		c.steps(100)
		var last time.Time
		for i, m := range c.members {
			if m.state != "" || !m.primary || m.starts != len(m.stops) || (m.starts == 1) != (states[i] == galeraDonor) {
				t.Errorf("%q: %s is %q after %d starts", states, m.name, m.state, m.starts)
			}
			for _, at := range m.stops {
				if at.Sub(last) < recoveryOut {
					t.Errorf("%q: two members were stopped within %v", states, at.Sub(last))
				}
				last = at
			}
		}
	}
}

func TestADonorIsLeftAloneWhileACopyMayBeTaken(t *testing.T) {
	for name, states := range map[string][]string{
		"another joins":              {"", "Joining", galeraDonor},
		"another catches up":         {"", "Joined", galeraDonor},
		"nobody else has the data":   {"Joining", "Joining", galeraDonor},
		"all take themselves for it": {galeraDonor, galeraDonor, galeraDonor},
	} {
		c := servingCluster(t, states...)
		c.steps(100)
		for _, m := range c.members {
			if m.starts > 0 {
				t.Errorf("%s: %s was restarted", name, m.name)
			}
		}
	}
	c := servingCluster(t, "", "Joining", galeraDonor)
	c.members[1].unreachable = true // its agent; the copy goes on
	c.steps(100)
	if c.members[2].starts > 0 {
		t.Error("restarted although nobody knows of a member of the component")
	}
}
