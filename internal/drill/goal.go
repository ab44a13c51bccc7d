package drill

import (
	"fmt"
	"strings"
	"time"
)

// A Goal is what a kind of fault has to reach. Zero means no goal.
type Goal struct {
	Kind string
	// Window bounds the error window of first tries at the Percentile.
	Window     time.Duration
	Percentile int
	// NoFailure tells that no idempotent request may fail after one repeat.
	NoFailure bool
	// Serving bounds the time from the last server being up until everything
	// is served again.
	Serving time.Duration
	// Usual judges by the median round instead: what is usual, not the worst.
	Usual bool
}

// Kinds of faults that have goals.
const (
	KindProcess    = "process kill"
	KindFreeze     = "process frozen"
	KindBalancer   = "load balancer or VIP holder"
	KindControl    = "control server"
	KindWriter     = "database writer"
	KindManagement = "management network of a controller"
	KindPower      = "power"
	KindSwitch     = "switch"
	KindCable      = "cable"
	KindServer     = "other server"
	KindPartition  = "partition"
	KindState      = "storage of state"
	KindBoot       = "boot crash matrix"
	KindUpgrade    = "upgrade"
)

// Goals are the promises that drills are judged by, one a kind.
func Goals() []Goal {
	return []Goal{
		{Kind: KindProcess, NoFailure: true},
		{Kind: KindBalancer, Window: time.Second, Percentile: 50, NoFailure: true},
		{Kind: KindControl, Window: 3 * time.Second, Percentile: 99},
		{Kind: KindWriter, Window: 5 * time.Second, Percentile: 100},
		{Kind: KindManagement, Window: 5 * time.Second, Percentile: 100},
		{Kind: KindPower, Serving: 60 * time.Second},
		{Kind: KindUpgrade, NoFailure: true},
	}
}

func goalOf(kind string) Goal {
	for _, g := range Goals() {
		if g.Kind == kind {
			return g
		}
	}
	return Goal{Kind: kind}
}

// Summary is the line of one fault. A median is judged over all faults of the
// kind (Report.Kinds): of one round or two there is none.
func (res *Result) Summary() Summary {
	goal := goalOf(res.Kind)
	goal.Usual = res.Confirmed
	if goal.Percentile == median {
		goal.Window = 0
	}
	return summarise(res.Name, goal, res.Rounds)
}

const median = 50

// judge holds the figures against the goal.
func (s *Summary) judge(g Goal, windows, failed []int64) {
	rank, most, suffix := g.Percentile, 100, ""
	if g.Usual {
		rank, most, suffix = min(rank, median), median, " in most rounds"
	}
	var parts []string
	s.Met = true
	if g.Window > 0 {
		parts = append(parts, fmt.Sprintf("window %s ≤ %v", rankName(rank), g.Window))
		s.Met = s.Met && percentile(windows, rank) <= ms(g.Window)
	}
	if g.NoFailure {
		parts = append(parts, "0 failed reads after one repeat"+suffix)
		s.Met = s.Met && percentile(failed, most) == 0
	}
	if g.Serving > 0 {
		parts = append(parts, fmt.Sprintf("serving ≤ %v%s", g.Serving, suffix))
		s.Met = s.Met && percentile(windows, most) <= ms(g.Serving)
	}
	s.Goal = strings.Join(parts, ", ")
	if s.Rounds == 0 {
		s.Met = false
	}
}

// missed tells of a goal that was not reached, unproven of one that no round
// counts for.
func (s *Summary) missed() bool   { return s.Goal != "" && !s.Met && s.Rounds > 0 }
func (s *Summary) unproven() bool { return s.Goal != "" && s.Rounds == 0 }

func rankName(p int) string {
	if p == 100 {
		return "max"
	}
	return fmt.Sprintf("p%d", p)
}

// confirmation is how many more rounds a fault needs that missed nothing but its
// goal: one slow round on a busy machine is no proof, most of several are.
func (r *Run) confirmation(res *Result) int {
	s := res.Summary()
	if res.Confirmed || r.opts.Confirm == 0 || !s.missed() || len(s.Broken) > 0 {
		return 0
	}
	res.Confirmed = true
	return r.opts.Confirm
}
