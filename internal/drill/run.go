package drill

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/topology"
)

// Options say how to drill.
type Options struct {
	Rounds int // of each fault
	// Confirm is how many rounds a fault gets that missed its goal and nothing
	// else; most of its rounds then decide.
	Confirm int
	Seed    int64
	// Dir is where the ledger and the reports are written.
	Dir     string
	Version string
	// WriteEvery is the interval of each of the four kinds of writes.
	WriteEvery time.Duration
	// BootPause is the time between two servers of the boot loop; NoBoots
	// makes none.
	BootPause time.Duration
	NoBoots   bool
	// NoAlarms does not wait for alarms to be raised and cleared.
	NoAlarms bool
	// Keep leaves what the writers wrote in the cloud.
	Keep bool
	// Progress is told of each finished round and of each finished fault (last).
	Progress func(res *Result, last bool)
	// Say is told in one line what the drill is doing.
	Say func(line string)
}

// A Run drills one cluster.
type Run struct {
	target      *Target
	opts        Options
	id          string
	public, api *cloud
	ledger      *Ledger
	writer      *writer
	booter      *booter
	floating    string
	random      *mathrand.Rand
	told        map[string]bool // writes whose fate has been told
	report      Report
}

// Do runs the faults and writes the reports. A cluster that breaks its promises
// is no error: that is what the report says.
func Do(ctx context.Context, t *Target, faults []*Fault, o Options) (*Report, error) {
	r, err := begin(ctx, t, o)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.ledger.Close() }()
	refresh, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); r.keepToken(refresh) }()
	err = r.all(ctx, faults)
	stop()
	<-done
	err = errors.Join(err, r.finish(ctx))
	return &r.report, err
}

// begin logs in, makes what the probes need and opens the ledger.
func begin(ctx context.Context, t *Target, o Options) (*Run, error) {
	var b [3]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	now := t.Clock.Now()
	r := &Run{target: t, opts: o, told: map[string]bool{},
		id:     "drill-" + now.Format("20060102-150405") + "-" + hex.EncodeToString(b[:]),
		random: mathrand.New(mathrand.NewPCG(uint64(o.Seed), 1))}
	s := &session{}
	r.public, r.api = newCloud(t.Access, t.Access.Public, s), newCloud(t.Access, t.Access.API, s)
	if err := retried(ctx, t.Clock, 3, time.Second, r.public.login); err != nil {
		return nil, err
	}
	if err := retried(ctx, t.Clock, 3, time.Second, r.prepare); err != nil {
		return nil, fmt.Errorf("prepare the cloud for drills: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if r.ledger, err = OpenLedger(filepath.Join(o.Dir, r.id+".ledger")); err != nil {
		return nil, err
	}
	if t.Audit == nil {
		t.Audit = r.askAuditor
	}
	r.writer = &writer{run: r.id, cloud: r.api, ledger: r.ledger, kinds: writeKinds()}
	r.floating = findFloating(ctx, r.public)
	if err := r.rehearse(ctx); err != nil {
		return nil, errors.Join(err, r.ledger.Close())
	}
	r.report = Report{Schema: Schema, Cluster: t.Topology.Name, Servers: len(t.Topology.Servers), Lab: t.Lab != nil, Version: o.Version,
		Started: now, Seed: o.Seed, Rules: Rules(), Bare: bare(t.Topology)}
	if r.floating == "" {
		r.note("No floating IP answered: the data plane was not probed.")
	}
	if r.booter == nil {
		r.note("Servers were not booted.")
	}
	if t.Lab == nil {
		r.note("Not a lab: who holds a VIP was not watched.")
	}
	return r, nil
}

func (r *Run) note(s string) { r.report.Notes = append(r.report.Notes, s) }

// rehearse sends one request of every kind: a probe that cannot succeed would
// only measure itself.
func (r *Run) rehearse(ctx context.Context) error {
	for _, p := range r.allProbes("rehearsal") {
		n := 0
		err := retried(ctx, r.target.Clock, 5, time.Second, func(ctx context.Context) error { n++; return p.try(ctx, n, 0) })
		if err != nil {
			return fmt.Errorf("the cloud is not fit to be drilled, %q fails without any fault: %w", p.name, err)
		}
	}
	return nil
}

// askAuditor returns what the cloud's auditor finds now. What it did not see is
// a finding too: nobody has looked there.
func (r *Run) askAuditor(ctx context.Context) ([]string, error) {
	var out struct {
		Findings []struct{ Kind, ID, Host, Text string }
		Unseen   []string
	}
	if _, err := read(r.api.do(ctx, "GET", "/audit", nil, &out)); err != nil {
		return nil, err
	}
	var list []string
	for _, f := range out.Findings {
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s: %s", f.Kind, f.ID, f.Host, f.Text)))
	}
	for _, u := range out.Unseen {
		list = append(list, u+" did not answer the audit")
	}
	return list, nil
}

// bare are the roles of the topology whose services do not exist yet.
func bare(t *topology.Topology) []string {
	var out []string
	for _, role := range []string{topology.RoleBlockStorage, topology.RoleObjectProxy, topology.RoleObjectStorage} {
		if len(t.With(role)) > 0 {
			out = append(out, role)
		}
	}
	return out
}

// keepToken gets a new token long before the old one ends.
func (r *Run) keepToken(ctx context.Context) {
	for sleep(ctx, r.target.Clock, 10*time.Minute) == nil {
		// A failure leaves the old token, which has most of its life before it.
		_ = retried(ctx, r.target.Clock, 60, 2*time.Second, r.public.own().login)
	}
}

// all runs every fault for its rounds.
func (r *Run) all(ctx context.Context, faults []*Fault) error {
	for i, f := range faults {
		if f.Lab && r.target.Lab == nil {
			return fmt.Errorf("%s: %w", f.Name, errNeedsLab)
		}
		res := Result{Name: f.Name, Suite: f.Suite, Kind: f.Kind, Note: f.Note, Rounds: []Round{}}
		err := r.rounds(ctx, f, i, &res)
		r.report.Faults = append(r.report.Faults, res)
		if err != nil {
			return err
		}
		if err := r.write(); err != nil {
			return err
		}
	}
	return nil
}

// rounds runs one fault until enough rounds count.
func (r *Run) rounds(ctx context.Context, f *Fault, index int, res *Result) error {
	wanted := r.opts.Rounds
	if f.Once {
		wanted = 1
	}
	most := wanted + (wanted*extraRounds+99)/100
	if f.Once {
		most = 1
	}
	for n, counted := 0, 0; n < most && counted < wanted; n++ {
		if err := r.ready(ctx); err != nil {
			return fmt.Errorf("before %s: %w", f.Name, err)
		}
		r.say("%s, round %d", f.Name, n+1)
		round, err := r.prepared(ctx, f, fmt.Sprintf("f%03d-r%02d", index, n), n == 0)
		if e := r.account(ctx, &round); e != nil {
			err = errors.Join(err, e)
		}
		if ctx.Err() != nil {
			// Its writes count, its times were cut off.
			round.Rejected = "the drill was stopped"
		}
		res.Rounds = append(res.Rounds, round)
		if round.Rejected == "" {
			counted++
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		if counted == wanted {
			more := r.confirmation(res)
			wanted, most = wanted+more, most+2*more
		}
		if r.opts.Progress != nil {
			r.opts.Progress(res, n+1 == most || counted == wanted)
		}
	}
	return nil
}

// prepared runs one round between the fault's Prepare and Restore.
func (r *Run) prepared(ctx context.Context, f *Fault, tag string, first bool) (round Round, err error) {
	if f.NeedsBoots && r.booter == nil {
		return round, errors.New("it needs the boot loop")
	}
	if f.Restore != nil {
		defer func() {
			restore, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
			defer cancel()
			err = errors.Join(err, f.Restore(restore))
		}()
	}
	if f.Prepare != nil {
		if err := f.Prepare(ctx); err != nil {
			return Round{Started: r.target.Clock.Now(), DetectedMS: -1, Rejected: "the fault could not be prepared",
				Problems: []string{"the fault could not be prepared: " + err.Error()}}, nil
		}
	}
	return r.round(ctx, f, tag, first)
}

func (r *Run) say(format string, args ...any) {
	if r.opts.Say != nil {
		r.opts.Say(fmt.Sprintf(format, args...))
	}
}

// ready waits until the cluster is healthy: a fault on top of the last one's
// remains would measure both.
func (r *Run) ready(ctx context.Context) error {
	r.say("waiting until the cluster is healthy")
	err := r.target.untilHealthy(ctx, readyTime)
	if ctx.Err() != nil {
		return errStopped
	}
	if err != nil {
		return fmt.Errorf("the cluster is not healthy: %w; see hastack status", err)
	}
	return nil
}

// readyTime bounds the wait for health before a round.
const readyTime = 5 * time.Minute

// account reads the writes back and charges new losses to the round.
func (r *Run) account(ctx context.Context, round *Round) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	v, err := r.writer.verify(ctx, r.target.Clock)
	if err != nil {
		return err
	}
	fresh := func(kind string, names []string) int {
		n := 0
		for _, name := range names {
			if key := kind + name; !r.told[key] {
				r.told[key] = true
				n++
			}
		}
		return n
	}
	round.Lost, round.Doubled, round.Denied = fresh("l", v.Lost), fresh("d", v.Doubled), fresh("n", v.Denied)
	return nil
}

// finish judges all writes once more, cleans up and writes the last report.
func (r *Run) finish(ctx context.Context) error {
	stopped := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Minute)
	defer cancel()
	v, err := r.writer.verify(ctx, r.target.Clock)
	if err == nil {
		r.report.Ledgers = []Verdict{*v}
	}
	if len(r.target.DatabaseSecrets) > 0 && !stopped {
		r.say("looking for credentials of the database at the agents")
		r.report.Checks = append(r.report.Checks, CheckAgents(ctx, r.target))
	}
	if !r.opts.Keep && !stopped && err == nil {
		r.say("deleting what the drill wrote")
		left, e := r.writer.clean(ctx, r.target.Clock)
		if left > 0 {
			r.note(fmt.Sprintf("%d rows that the drill wrote could not be deleted: %v", left, e))
		}
	}
	r.report.Ended = r.target.Clock.Now()
	return errors.Join(err, r.write())
}

func (r *Run) write() error {
	r.report.Ended = r.target.Clock.Now()
	return Write(r.opts.Dir, &r.report)
}

// Shuffled is a copy of names in an order that follows from the run's seed.
func shuffled(rnd *mathrand.Rand, names []string) []string {
	out := slices.Clone(names)
	rnd.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}
