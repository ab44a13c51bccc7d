package drill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Bounds of a round's parts.
const (
	// quietTime without a failure is the end of an outage.
	quietTime = 2 * time.Second
	// longestHold bounds how long a fault is held for the sake of alarms or of
	// an outage that does not end.
	longestHold = 60 * time.Second
	// auditTime is how long after the healing the audit may find something.
	auditTime = 60 * time.Second
	// clearTime is how long after the healing an alarm may fire.
	clearTime = 90 * time.Second
	// defaultSettle bounds the time until everything is healthy again.
	defaultSettle = 120 * time.Second
)

// A roundRun is one round while it runs.
type roundRun struct {
	*Run
	fault  *Fault
	tag    string
	first  bool // the first round of its fault: alarms are waited for
	probes *prober
	vips   *vipWatch
	alarms *alarmWatch
	layers *layerWatch
	boots  *booter // nil until it runs
	rec    Round
	// Moments on the round's clock.
	faultAt, healAt, healedAt, endAt time.Duration
}

// round runs one round. Its error is that the drill cannot go on; what went
// wrong with the cloud is in the round.
func (r *Run) round(ctx context.Context, f *Fault, tag string, first bool) (Round, error) {
	look := holders(nil)
	var names *labHolders
	if r.target.Lab != nil {
		names = newLabHolders(r.target.Lab, r.target.Topology)
		look = names.holders
	}
	acked := r.ledger.count(stateAcked)
	w := &roundRun{Run: r, fault: f, tag: tag, first: first}
	w.rec = Round{Started: r.target.Clock.Now(), AlarmWanted: first && len(f.Alarms) > 0 && !r.opts.NoAlarms}
	canary := startCanary(ctx, r.target.Clock)
	w.probes = startProbes(ctx, r.target.Clock, r.allProbes(tag))
	w.vips = watchVIPs(ctx, r.target.Clock, w.probes.zero, r.target.Topology.VIPs, look)
	w.alarms = watchAlarms(ctx, r.target.Clock, w.probes.zero, r.target.askMonitors)
	w.layers = watchLayers(ctx, r.target, w.probes.zero, f.Targets, r.target.facts)
	if !f.NeedsBoots {
		w.startBoots(ctx)
	}
	err := w.play(ctx)
	w.endAt = w.probes.now()
	series := w.probes.end()
	if names != nil {
		w.rec.VIPs = w.vips.end(w.faultAt)
		names.close()
	} else {
		w.vips.end(w.faultAt)
	}
	w.rec.DetectedMS = -1
	if at, what := w.layers.end(); at >= 0 {
		w.rec.DetectedMS, w.rec.DetectedBy = ms(at-w.faultAt), what
	}
	noise := canary.end()
	if w.boots != nil {
		w.rec.Boots = w.boots.end()
	}
	w.after(ctx)
	w.rec.Alarms = w.alarms.end()
	w.rec.Acked = r.ledger.count(stateAcked) - acked
	w.rec.FaultMS, w.rec.HealMS, w.rec.EndMS = ms(w.faultAt), ms(w.healAt-w.faultAt), ms(w.endAt-w.faultAt)
	w.rec.StallProber, w.rec.Standstill, w.rec.Steal = ms(noise.stall), ms(noise.standstill), noise.steal
	w.rec.describe(series, w.faultAt, w.healAt, w.healedAt, w.endAt)
	// The baseline is judged by first tries that had ended before the fault.
	baseline := joined(series, -1, w.faultAt, false, func(p *probe) bool { return p.group != groupReach })
	baseline.failed = endedBefore(series, w.faultAt)
	w.rec.Rejected = rejection(baseline, noise)
	return w.rec, err
}

func (w *roundRun) startBoots(ctx context.Context) {
	if w.booter == nil {
		return
	}
	w.boots = w.booter
	w.boots.start(ctx, w.id+"-"+w.tag, w.probes.now)
}

// endedBefore counts the requests that failed and were over before the fault.
func endedBefore(all []*series, fault time.Duration) int {
	n := 0
	for _, s := range all {
		for _, one := range s.samples {
			if one.first != nil && one.at+one.took <= fault && s.probe.group != groupReach {
				n++
			}
		}
	}
	return n
}

// play makes the fault, holds it, heals it and waits for health.
func (w *roundRun) play(ctx context.Context) error {
	clk := w.target.Clock
	if err := sleep(ctx, clk, baselineTime); err != nil {
		return err
	}
	w.faultAt = w.probes.now()
	w.healAt, w.healedAt = w.faultAt, w.faultAt
	w.layers.fault(w.faultAt)
	w.alarms.fault(w.faultAt)
	injectErr := w.fault.Inject(ctx)
	w.rec.InjectMS = ms(w.probes.now() - w.faultAt)
	if w.fault.NeedsBoots {
		w.startBoots(ctx)
	}
	if injectErr != nil {
		w.problem("the fault could not be made: %v", injectErr)
	} else if err := w.hold(ctx); err != nil {
		injectErr = err
	}
	w.healAt = w.probes.now()
	w.healedAt = w.healAt
	// Healing outlives an interrupt: a drill never leaves its fault behind.
	if w.fault.Heal != nil {
		heal, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
		if err := w.fault.Heal(heal); err != nil {
			w.problem("the fault could not be healed: %v", err)
		}
		cancel()
		w.healedAt = w.probes.now()
	}
	w.rec.HealTookMS = ms(w.healedAt - w.healAt)
	w.alarms.heal(w.healAt)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.settle(ctx)
	return nil
}

func (w *roundRun) problem(format string, args ...any) {
	w.rec.Problems = append(w.rec.Problems, fmt.Sprintf(format, args...))
}

// hold keeps the fault for its time, until the outage is over, and in the first
// round until its alarm is raised.
func (w *roundRun) hold(ctx context.Context) error {
	if w.fault.Blackout {
		return sleep(ctx, w.target.Clock, w.fault.Hold)
	}
	for {
		since := w.probes.now() - w.faultAt
		quiet := w.probes.now()-max(w.probes.lastFailure(), w.faultAt) >= quietTime
		alarmed := !w.rec.AlarmWanted || w.alarms.raised(w.fault.Alarms) || !w.alarms.answered()
		if since >= w.fault.Hold && (quiet && alarmed || since >= longestHold) {
			return nil
		}
		if err := sleep(ctx, w.target.Clock, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// settle waits until every layer is healthy and no request has failed for a
// while.
func (w *roundRun) settle(ctx context.Context) {
	bound := w.fault.Settle
	if bound == 0 {
		bound = defaultSettle
	}
	w.rec.HealthyMS = -1
	var last error
	for w.probes.now()-w.healedAt < bound {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		last = w.target.Healthy(try)
		cancel()
		switch {
		case last == nil && w.rec.HealthyMS < 0:
			w.rec.HealthyMS = ms(w.probes.now() - w.healedAt)
		case last != nil && w.rec.HealthyMS < 0:
			w.rec.LastUnwell = last.Error()
		}
		quiet := w.probes.now()-max(w.probes.lastFailure(), w.healedAt) >= quietTime
		if last == nil && quiet || sleep(ctx, w.target.Clock, 300*time.Millisecond) != nil {
			return
		}
	}
	if last != nil {
		w.problem("not healthy %v after the healing: %v", bound, last)
	} else {
		w.problem("requests still failed %v after the healing", bound)
	}
}

// after asks the auditor and waits for the alarms to clear, now that the probes
// are still.
func (w *roundRun) after(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	clk := w.target.Clock
	w.rec.Audit.CleanMS = -1
	for {
		try, cancel := context.WithTimeout(ctx, 20*time.Second)
		findings, err := w.target.Audit(try)
		cancel()
		since := w.probes.now() - w.healedAt
		w.rec.Audit.Findings, w.rec.Audit.Error = findings, ""
		if err != nil {
			w.rec.Audit.Error = err.Error()
		} else if len(findings) == 0 {
			w.rec.Audit.CleanMS = ms(since)
			break
		}
		// What took long to become healthy still gets a moment to be tidied.
		if since >= max(auditTime, w.endAt-w.healedAt+10*time.Second) || sleep(ctx, clk, 2*time.Second) != nil {
			break
		}
	}
	if w.rec.AlarmWanted {
		for !w.alarms.silent() && w.probes.now()-w.healedAt < max(clearTime, w.endAt-w.healedAt+clearTime/2) {
			if sleep(ctx, clk, time.Second) != nil {
				break
			}
		}
	}
	if w.fault.Check != nil {
		if err := w.fault.Check(ctx); err != nil {
			w.problem("%v", err)
		}
	}
}

// allProbes are the probes of a round.
func (r *Run) allProbes(tag string) []*probe {
	probes := slices.Concat(readProbes(r.public, r.api), r.writer.probes(tag, r.opts.WriteEvery))
	if r.floating != "" {
		probes = append(probes, reachProbes(r.floating, 22)...)
	}
	return probes
}

var errStopped = errors.New("the drill was stopped")
