package drill

import (
	"cmp"
	"slices"
	"time"
)

// Schema is the version of the JSON report. Reports of one version can be
// merged; fields are added without a new version.
const Schema = 1

// A Report is what one or several runs measured.
type Report struct {
	Schema  int       `json:"schema"`
	Cluster string    `json:"cluster"`
	Servers int       `json:"servers"`
	Lab     bool      `json:"lab"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Seed    int64     `json:"seed"`
	Rules   []string  `json:"rejection_rules"`
	Notes   []string  `json:"notes,omitempty"`
	// Bare are roles whose services do not exist: their servers were drilled
	// as bare servers.
	Bare   []string `json:"bare_roles,omitempty"`
	Faults []Result `json:"faults"`
	// Ledgers are the verdicts on all acknowledged writes at the end, one a run.
	Ledgers []Verdict `json:"ledgers"`
	// Checks are what was looked at beside the faults.
	Checks []Check `json:"checks,omitempty"`
	// Parts are the runs that a merged report was made of; a run's own report
	// has none.
	Parts []Part `json:"parts,omitempty"`
}

// A Part is one run of a drill.
type Part struct {
	Suites  []string  `json:"suites"`
	Kinds   []string  `json:"kinds"`
	Faults  int       `json:"faults"`
	Rounds  int       `json:"rounds"` // the rejected ones included
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
}

// Made are the runs that the report tells of, in their order.
func (r *Report) Made() []Part {
	if len(r.Parts) > 0 {
		return r.Parts
	}
	part := Part{Faults: len(r.Faults), Version: r.Version, Started: r.Started, Ended: r.Ended}
	for _, f := range r.Faults {
		if !slices.Contains(part.Suites, f.Suite) {
			part.Suites = append(part.Suites, f.Suite)
		}
		if !slices.Contains(part.Kinds, f.Kind) {
			part.Kinds = append(part.Kinds, f.Kind)
		}
		part.Rounds += len(f.Rounds)
	}
	return []Part{part}
}

// Versions are the versions that were drilled, in the order of the runs.
func (r *Report) Versions() []string {
	var out []string
	for _, p := range r.Made() {
		if !slices.Contains(out, p.Version) {
			out = append(out, p.Version)
		}
	}
	return out
}

// A Check is something that has to hold, beside the faults.
type Check struct {
	Name     string   `json:"name"`
	OK       bool     `json:"ok"`
	Findings []string `json:"findings,omitempty"`
}

// A Result is one fault with its rounds.
type Result struct {
	Name   string  `json:"name"`
	Suite  string  `json:"suite"`
	Kind   string  `json:"kind"`
	Note   string  `json:"note,omitempty"`
	Rounds []Round `json:"rounds"`
	// Confirmed tells that rounds were added because the goal had been missed,
	// and that most of them decide.
	Confirmed bool `json:"confirmed,omitempty"`
}

// A Round is one time that a fault was made and healed. All times are
// milliseconds; -1 is never.
type Round struct {
	Started time.Time `json:"started"`
	// FaultMS and HealMS are since the round began, all else since the fault
	// unless it says so.
	FaultMS int64 `json:"fault_ms"`
	// InjectMS is how long it took to make the fault.
	InjectMS   int64  `json:"inject_ms"`
	HealMS     int64  `json:"heal_ms"`
	HealTookMS int64  `json:"heal_took_ms"`
	EndMS      int64  `json:"end_ms"`
	DetectedMS int64  `json:"detected_ms"`
	DetectedBy string `json:"detected_by,omitempty"`
	// WindowMS is the error window of first tries, RetryWindowMS of what failed
	// after one repeat, both of reads; WriteWindowMS of the writes.
	WindowMS      int64 `json:"window_ms"`
	RetryWindowMS int64 `json:"retry_window_ms"`
	WriteWindowMS int64 `json:"write_window_ms"`
	// HealWindowMS is the error window of first tries, reads and writes, of
	// what failed after the healing.
	HealWindowMS int64 `json:"heal_window_ms"`
	// StallMS is the longest that a client waited, its repeat included.
	StallMS int64 `json:"stall_ms"`
	// ServingMS is from the end of healing until the last failure, HealthyMS
	// until every layer was healthy; LastUnwell is what had not been until then.
	ServingMS  int64  `json:"serving_ms"`
	HealthyMS  int64  `json:"healthy_ms"`
	LastUnwell string `json:"last_unwell,omitempty"`

	FailedFirst int           `json:"failed_first"` // idempotent, first try
	FailedRetry int           `json:"failed_retry"` // idempotent, after one repeat
	Acked       int           `json:"acked"`
	Lost        int           `json:"lost"`
	Doubled     int           `json:"doubled"`
	Denied      int           `json:"denied"`
	Boots       Boots         `json:"boots"`
	VIPs        []VIPMove     `json:"vips,omitempty"`
	Alarms      []Alarm       `json:"alarms,omitempty"`
	AlarmWanted bool          `json:"alarm_wanted,omitempty"`
	Audit       Audit         `json:"audit"`
	Probes      []ProbeResult `json:"probes"`
	Timeline    Timeline      `json:"timeline"`
	StallProber int64         `json:"prober_stall_ms"`
	Standstill  int64         `json:"standstill_ms,omitempty"` // of a processor, 0 where it is not measured
	Steal       float64       `json:"steal"`
	Rejected    string        `json:"rejected,omitempty"`
	// Failures are the first and the last requests that failed.
	Failures []Failure `json:"failures,omitempty"`
	// Problems are what went wrong with the round beside the figures: the fault
	// could not be made, the cluster did not become healthy, …
	Problems []string `json:"problems,omitempty"`
}

// Boots are the servers that were made and deleted in a round.
type Boots struct {
	Asked   int `json:"asked"`
	Refused int `json:"refused"` // POST answered with an error, after repeats
	Active  int `json:"active"`
	Error   int `json:"error"`
	// Stuck neither became ACTIVE nor ERROR, or were not gone after a delete.
	Stuck   int   `json:"stuck"`
	Doubled int   `json:"doubled"`
	MaxMS   int64 `json:"max_ms"`
	// Said are the first errors of what was refused or stuck.
	Said []string `json:"said,omitempty"`
}

// A VIPMove is what became of a VIP.
type VIPMove struct {
	Name         string `json:"name"`
	Before       string `json:"before"`
	After        string `json:"after"`
	MovedMS      int64  `json:"moved_ms"`       // 0: it did not move
	MaxOverlapMS int64  `json:"max_overlap_ms"` // longest time with two holders
	MaxGapMS     int64  `json:"max_gap_ms"`     // longest time with none
}

// An Alarm was raised so long after the fault and cleared so long after the
// healing (-1: not seen to clear).
type Alarm struct {
	Name      string `json:"name"`
	RaisedMS  int64  `json:"raised_ms"`
	ClearedMS int64  `json:"cleared_ms"`
}

// Audit is what the auditor said after the healing.
type Audit struct {
	// CleanMS is when it found nothing, since the healing; -1 if it never did.
	CleanMS  int64    `json:"clean_ms"`
	Findings []string `json:"findings,omitempty"`
	// Error is why the auditor did not answer, when it was asked last.
	Error string `json:"error,omitempty"`
}

// ProbeResult is what one probe saw.
type ProbeResult struct {
	Name        string `json:"name"`
	Group       string `json:"group"`
	Sent        int    `json:"sent"`
	Skipped     int    `json:"skipped,omitempty"`
	FailedFirst int    `json:"failed_first"`
	FailedRetry int    `json:"failed_retry"`
	WindowMS    int64  `json:"window_ms"`
	P50MS       int64  `json:"p50_ms"`
	P99MS       int64  `json:"p99_ms"`
	MaxMS       int64  `json:"max_ms"`
	Error       string `json:"error,omitempty"` // the first one
}

// A Failure is one request that failed.
type Failure struct {
	Probe string `json:"probe"`
	AtMS  int64  `json:"at_ms"` // its start, since the fault
	// TookMS is with the repeat; Again tells that the repeat failed as well.
	TookMS int64  `json:"took_ms"`
	Again  bool   `json:"again,omitempty"`
	Error  string `json:"error"`
}

// A Timeline is the round in steps of StepMS: requests begun, failed first
// tries, failed after the repeat, and the longest latency.
type Timeline struct {
	StepMS  int64   `json:"step_ms"`
	Sent    []int   `json:"sent"`
	First   []int   `json:"first"`
	Retry   []int   `json:"retry"`
	Latency []int64 `json:"latency_ms"`
}

func ms(d time.Duration) int64 { return d.Milliseconds() }

// describe fills in what the probes saw. fault and heal are the moments on the
// round's clock.
func (r *Round) describe(all []*series, fault, heal, healed, end time.Duration) {
	reads := func(p *probe) bool { return !p.write && p.group != groupReach }
	writes := func(p *probe) bool { return p.write }
	api := func(p *probe) bool { return p.group != groupReach }
	r.WindowMS = ms(joined(all, fault, heal, false, reads).length())
	r.RetryWindowMS = ms(joined(all, fault, heal, true, reads).length())
	r.WriteWindowMS = ms(joined(all, fault, heal, false, writes).length())
	r.HealWindowMS = ms(joined(all, heal, end, false, api).length())
	r.ServingMS = max(0, ms(joined(all, heal, end, false, api).to-healed))
	for _, s := range all {
		p := ProbeResult{Name: s.probe.name, Group: s.probe.group, Sent: len(s.samples), Skipped: s.skipped,
			WindowMS: ms(windowOf(s, fault, end, false).length())}
		var took []time.Duration
		for _, one := range s.samples {
			if one.first != nil {
				p.FailedFirst++
				if p.Error == "" {
					p.Error = one.first.Error()
				}
			}
			if one.second != nil {
				p.FailedRetry++
			}
			took = append(took, one.took)
		}
		p.P50MS, p.P99MS, p.MaxMS = ms(percentile(took, 50)), ms(percentile(took, 99)), ms(percentile(took, 100))
		if reads(s.probe) {
			r.FailedFirst += p.FailedFirst
			r.FailedRetry += p.FailedRetry
		}
		if api(s.probe) {
			r.StallMS = max(r.StallMS, p.MaxMS)
		}
		r.Probes = append(r.Probes, p)
	}
	r.Timeline = timeline(all, end)
	r.Failures = failures(all, fault)
}

// failuresKept bounds a round's list of failures from both ends.
const failuresKept = 10

func failures(all []*series, fault time.Duration) []Failure {
	var out []Failure
	for _, s := range all {
		for _, one := range s.samples {
			if one.first != nil {
				out = append(out, Failure{Probe: s.probe.name, AtMS: ms(one.at - fault), TookMS: ms(one.took), Again: one.second != nil, Error: one.first.Error()})
			}
		}
	}
	slices.SortFunc(out, func(a, b Failure) int { return cmp.Compare(a.AtMS, b.AtMS) })
	if len(out) > 2*failuresKept {
		out = slices.Concat(out[:failuresKept], out[len(out)-failuresKept:])
	}
	return out
}

const timelineStep = 100 * time.Millisecond

// timelineMax bounds a timeline's length: longer rounds have longer steps.
const timelineMax = 600

func timeline(all []*series, end time.Duration) Timeline {
	step := timelineStep
	for end/step >= timelineMax {
		step *= 2
	}
	n := int(end/step) + 1
	t := Timeline{StepMS: ms(step), Sent: make([]int, n), First: make([]int, n), Retry: make([]int, n), Latency: make([]int64, n)}
	for _, s := range all {
		for _, one := range s.samples {
			i := min(int(one.at/step), n-1)
			t.Sent[i]++
			if one.first != nil {
				t.First[i]++
			}
			if one.second != nil {
				t.Retry[i]++
			}
			t.Latency[i] = max(t.Latency[i], ms(one.took))
		}
	}
	return t
}
