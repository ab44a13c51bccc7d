package cli

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/drill"
	"github.com/hastack/hastack/internal/lab"
	"github.com/hastack/hastack/internal/status"
	"github.com/hastack/hastack/internal/topology"
)

// errBroken makes the exit code 1 when a drill found a broken promise,
// errUnproven makes it 4 when the machine was too busy to judge one.
var (
	errBroken   = errors.New("the cluster broke a promise")
	errUnproven = errors.New("no promise was broken, but every round of a fault was rejected")
)

// drillOptions are the flags of drill.
type drillOptions struct {
	at             clusterFlag
	topology, only string
	report, binary string
	rounds, cables int
	confirm        int
	seed           int64
	writes, pause  time.Duration
	asJSON, yes    bool
	noAlarms, keep bool
}

func (a *app) drillCommand() *cobra.Command {
	var o drillOptions
	cmd := &cobra.Command{
		Use:   "drill SUITE...",
		Short: "Break things on purpose and measure what users see",
		Long: "Make faults in a lab, or those that need no lab in a staging cluster, while reads, writes, boots and pings run, and\n" +
			"report per fault the detection time, the error window, acknowledged writes lost or doubled, orphans and alarms.\n\n" +
			"Suites: " + strings.Join(drill.Suites(), ", ") + ", all.\n" +
			"What is measured and how: doc/ops/drills.md. A cluster that is no lab is touched only after its name was typed, or\n" +
			"with --yes. Exit code 0 when every promise was kept, 1 when not, 2 called wrongly,\n" +
			"4 when none was broken and one could not be judged, as every round of a fault was rejected.",
		Example: "  hastack drill list\n  hastack drill smoke --topology examples/three.yaml\n" +
			"  hastack drill process partition --rounds 20 --report drills/night\n  hastack drill power --seed 7",
		RunE: func(cmd *cobra.Command, args []string) error {
			suites, err := suitesOf(args)
			if err != nil {
				return err
			}
			return a.drill(cmd.Context(), o, suites)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.rounds, "rounds", 1, "rounds of each fault that have to count")
	f.IntVar(&o.confirm, "confirm", 0, "rounds to add to a fault that missed its goal and nothing else; most of its rounds then decide")
	f.StringVar(&o.report, "report", "", "directory of the report (default: drill-DATE-TIME)")
	f.DurationVar(&o.writes, "write-every", 240*time.Millisecond, "interval of each of the four kinds of acknowledged writes")
	f.DurationVar(&o.pause, "boot-pause", 3*time.Second, "pause between two servers of the boot loop; 0 boots none")
	f.BoolVar(&o.asJSON, "json", false, "print the report as JSON at the end, and no table")
	f.BoolVar(&o.yes, "yes", false, "touch a cluster that is no lab without asking")
	f.BoolVar(&o.noAlarms, "no-alarms", false, "do not wait for alarms to be raised and cleared")
	f.BoolVar(&o.keep, "keep", false, "leave what the drill wrote in the cloud")
	f.StringVar(&o.binary, "binary", "", "the hastack that the upgrade suite upgrades to")
	o.common(cmd)
	cmd.AddCommand(a.drillListCommand(), a.drillReportCommand())
	return cmd
}

// common are the flags of drill and of its list.
func (o *drillOptions) common(cmd *cobra.Command) {
	o.at.add(cmd)
	cmd.Flags().StringVar(&o.topology, "topology", "", "the cluster of this topology file")
	cmd.Flags().StringVar(&o.only, "only", "", "only faults whose names match this regular expression")
	cmd.Flags().IntVar(&o.cables, "cables", 0, "cut only so many cables, chosen by the seed; 0 cuts all")
	cmd.Flags().Int64Var(&o.seed, "seed", 1, "decides everything random")
}

func suitesOf(args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, usageError{fmt.Errorf("which suite? %s, or all; hastack drill list shows their faults", strings.Join(drill.Suites(), ", "))}
	}
	if slices.Contains(args, "all") {
		return drill.Suites(), nil
	}
	for _, s := range args {
		if !slices.Contains(drill.Suites(), s) {
			return nil, usageError{fmt.Errorf("there is no suite %q: choose of %s, or all", s, strings.Join(drill.Suites(), ", "))}
		}
	}
	return args, nil
}

func (a *app) drillListCommand() *cobra.Command {
	var o drillOptions
	cmd := &cobra.Command{
		Use: "list [SUITE...]", Short: "List the faults that a cluster can be drilled with",
		Example: "  hastack drill list --topology examples/reference-27.yaml\n  hastack drill list process",
		RunE: func(_ *cobra.Command, args []string) error {
			suites := drill.Suites()
			if len(args) > 0 {
				var err error
				if suites, err = suitesOf(args); err != nil {
					return err
				}
			}
			t, err := a.drillTopology(o)
			if err != nil {
				return err
			}
			// Only named, never made: neither lab nor cluster is needed.
			nothing := func(context.Context) error { return nil }
			faults, err := o.faults(&drill.Target{Topology: t, Upgrade: nothing, Rollback: nothing}, suites)
			if err != nil {
				return err
			}
			for _, f := range faults {
				where := "lab or staging"
				if f.Lab {
					where = "lab"
				}
				fmt.Fprintf(a.out, "%-17s %-34s %-15s %s\n", f.Suite, f.Kind, where, f.Name)
			}
			fmt.Fprintf(a.out, "%d faults\n", len(faults))
			return nil
		},
	}
	o.common(cmd)
	return cmd
}

// drillTopology is the topology of the flag, or that of the deployed cluster.
func (a *app) drillTopology(o drillOptions) (*topology.Topology, error) {
	if o.topology != "" {
		return topology.Load(o.topology)
	}
	d, err := a.deployedCluster(o.at)
	if err != nil {
		return nil, err
	}
	return d.Topology, nil
}

// faults are the faults of the suites that the flags choose.
func (o *drillOptions) faults(t *drill.Target, suites []string) ([]*drill.Fault, error) {
	re, err := regexp.Compile(o.only)
	if err != nil {
		return nil, usageError{fmt.Errorf("--only: %w", err)}
	}
	var out []*drill.Fault
	for _, s := range suites {
		list := drill.Faults(t, s, o.seed)
		if o.cables > 0 {
			list = drill.SomeCables(list, o.cables, o.seed)
		}
		for _, f := range list {
			if re.MatchString(f.Name) {
				out = append(out, f)
			}
		}
	}
	if len(out) == 0 {
		return nil, usageError{fmt.Errorf("no fault of %s matches %q: hastack drill list shows them", strings.Join(suites, ", "), o.only)}
	}
	return out, nil
}

func (a *app) drill(ctx context.Context, o drillOptions, suites []string) error {
	if o.rounds < 1 || o.confirm < 0 {
		return usageError{errors.New("--rounds must be at least 1, --confirm at least 0")}
	}
	d, l, err := a.drillCluster(o)
	if err != nil {
		return err
	}
	defer d.Close()
	t := drillTarget(d, l)
	if o.binary != "" {
		if err := a.drillUpgrades(t, d, o.binary); err != nil {
			return err
		}
	}
	faults, err := o.faults(t, suites)
	if err != nil {
		return err
	}
	if l == nil {
		if faults = slices.DeleteFunc(faults, func(f *drill.Fault) bool { return f.Lab }); len(faults) == 0 {
			return errors.New("all of these faults need a lab (hastack lab up): a staging cluster's cables and power are not ours")
		}
		if err := a.mayTouch(d.Topology.Name, o.yes); err != nil {
			return err
		}
	}
	dir := o.report
	if dir == "" {
		dir = "drill-" + clock.System.Now().Format("2006-01-02-1504")
	}
	drill.Favour()
	report, err := drill.Do(ctx, t, faults, drill.Options{
		Rounds: o.rounds, Confirm: o.confirm, Seed: o.seed, Dir: dir, Version: version(), WriteEvery: o.writes, BootPause: o.pause, NoBoots: o.pause == 0,
		NoAlarms: o.noAlarms, Keep: o.keep, Progress: a.drillRow(o.asJSON), Say: a.drillSay(),
	})
	if report != nil {
		if o.asJSON {
			err = errors.Join(err, json.NewEncoder(a.out).Encode(report))
		} else {
			fmt.Fprintln(a.out, a.clearLine()+drill.TableFooter(report, filepath.Join(dir, "index.html")))
		}
		if err == nil && report.Failed() {
			err = fmt.Errorf("%w: %s names it", errBroken, filepath.Join(dir, "report.md"))
		}
		if err == nil && report.Unproven() {
			err = fmt.Errorf("%w: %s tells why", errUnproven, filepath.Join(dir, "report.md"))
		}
	}
	return err
}

// drillCluster opens the cluster and its lab, nil if it is none.
func (a *app) drillCluster(o drillOptions) (*cluster.Dir, *lab.Lab, error) {
	if o.topology != "" && o.at.dir == "" {
		t, err := topology.Load(o.topology)
		if err != nil {
			return nil, nil, err
		}
		o.at.dir = cluster.DefaultPath(a.stateDir, t.Name)
	}
	d, err := a.deployedCluster(o.at)
	if err != nil {
		return nil, nil, err
	}
	l, err := lab.Open(a.stateDir, d.Topology.Name)
	if errors.Is(err, lab.ErrNoLab) {
		return d, nil, nil
	}
	return d, l, err
}

// drillTarget is the cluster as drills need it.
func drillTarget(d *cluster.Dir, l *lab.Lab) *drill.Target {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(d.CAPEM())
	source := status.New(d.Topology, d.HTTPClient(3*time.Second), d.Secrets.AdminPassword, clock.System)
	t := &drill.Target{
		Topology: d.Topology, HTTP: d.HTTPClient(2 * time.Second), Clock: clock.System,
		Access: drill.Access{Public: d.PublicURL(), API: d.InternalURL(), User: "admin", Password: d.Secrets.AdminPassword, Project: "admin", CA: roots},
		Shell: func(ctx context.Context, s *topology.Server, script, stdin string) ([]byte, error) {
			conn, err := d.SSH(ctx, s)
			if err != nil {
				return nil, err
			}
			return conn.Run(ctx, script, strings.NewReader(stdin))
		},
		Healthy:         func(ctx context.Context) error { return wellBesideAlarms(source.Look(ctx)) },
		DatabaseSecrets: []config.Secret{d.Secrets.DatabaseRoot, d.Secrets.DatabaseService, d.Secrets.DatabaseMonitor, d.Secrets.Replication},
	}
	if l != nil {
		t.Lab = l
	}
	return t
}

// wellBesideAlarms is nil if every layer is healthy. Alarms outlast their cause
// and the audit is a while old: drills watch both apart.
func wellBesideAlarms(r *status.Report) error {
	for _, p := range r.Problems {
		if p.Where == "audit" || slices.ContainsFunc(r.Alarms.Firing, func(a status.Alarm) bool { return strings.HasPrefix(p.Text, a.Name+": ") }) {
			continue
		}
		return fmt.Errorf("%s: %s", p.Where, p.Text)
	}
	return nil
}

// mayTouch asks for the name of a cluster that is no lab.
func (a *app) mayTouch(name string, yes bool) error {
	if yes {
		return nil
	}
	fmt.Fprintf(a.err, "%s is not a lab: its processes will be killed and frozen. Type its name to go on: ", name)
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	if strings.TrimSpace(line) != name {
		return usageError{fmt.Errorf("nothing was touched: the name of the cluster is %s (or use --yes)", name)}
	}
	return nil
}

// drillRow prints a line when a fault has had its rounds.
func (a *app) drillRow(quiet bool) func(res *drill.Result, last bool) {
	headed := false
	return func(res *drill.Result, last bool) {
		if quiet || !last {
			return
		}
		if !headed {
			fmt.Fprintln(a.out, a.clearLine()+drill.TableHeader())
			headed = true
		}
		s := res.Summary()
		fmt.Fprintln(a.out, a.clearLine()+drill.TableRow(s))
		for _, b := range s.Broken {
			fmt.Fprintln(a.out, "  ! "+b)
		}
	}
}

// drillSay shows what is being done, on a terminal only.
func (a *app) drillSay() func(string) {
	if !a.onTerminal() {
		return nil
	}
	return func(line string) { fmt.Fprint(a.out, a.clearLine()+line+" …") }
}

func (a *app) clearLine() string {
	if a.onTerminal() {
		return "\r\x1b[K"
	}
	return ""
}
