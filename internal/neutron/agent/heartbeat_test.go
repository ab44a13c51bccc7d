package agent

import (
	"slices"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

func TestOnlyHostsWithRoutersBeatInBetween(t *testing.T) {
	c := clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	now := c.Now()
	for _, x := range []struct {
		parts []string
		since time.Duration
		want  []string
	}{
		{[]string{PartL2}, 0, []string{PartL2}}, // a tick that was late, and the next one at once
		{[]string{PartL2}, 10 * time.Second, []string{PartL2}},
		{[]string{PartL2, PartL3}, time.Second, []string{PartL3}},
		{[]string{PartL2, PartL3}, 10 * time.Second, []string{PartL2, PartL3}},
	} {
		a := &Agent{cfg: Config{Parts: x.parts, HeartbeatEvery: 10 * time.Second}, clock: c}
		parts, all := a.due(now.Add(-x.since), time.Second)
		if !slices.Equal(parts, x.want) || all != (len(parts) == len(x.parts)) {
			t.Errorf("a host with %v, %v after its last beat, tells of %v (all: %v)", x.parts, x.since, parts, all)
		}
	}
}
