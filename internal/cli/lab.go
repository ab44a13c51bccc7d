package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/lab"
)

// labStopTimeout is how long a server may take to shut down in order.
const labStopTimeout = 100 * time.Second

func (a *app) labCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "The servers of a topology on this machine, to break at will",
		Long: "Run the servers of a topology on this machine: each a systemd-nspawn machine with real systemd and sshd,\n" +
			"wired with two legs to switches, with nothing of it reachable from outside.",
		Example: "  sudo hastack lab up examples/three.yaml\n  sudo hastack deploy examples/three.yaml\n" +
			"  sudo hastack lab kill three node01\n  sudo hastack lab down three",
	}
	cmd.AddCommand(a.labUp(), a.labDown(), a.labList(), a.labShow(), a.labSSH(), a.labExec(), a.labFabric(), a.labHealAll(),
		a.labOn("cut", "LINK|SERVER|SWITCH...", "Pull cables: of a link, a server's network, a server, a switch, or between two switches",
			"  hastack lab cut three node01/bond0l1\n  hastack lab cut three node01/management\n  hastack lab cut three tor-a", (*lab.Lab).Cut),
		a.labOn("heal", "LINK|SERVER|SWITCH...", "Plug in again what a cut of the same name has pulled",
			"  hastack lab heal three node01/bond0l1", (*lab.Lab).Heal),
		a.labOn("kill", "SERVER...", "Pull the power cord of a server", "  hastack lab kill three node01", (*lab.Lab).Kill),
		a.labOn("freeze", "SERVER...", "Stop every process of a server where it is", "  hastack lab freeze three node01", (*lab.Lab).Freeze),
		a.labOn("thaw", "SERVER...", "Let a frozen server go on", "  hastack lab thaw three node01", (*lab.Lab).Thaw),
		a.labOn("start", "SERVER...", "Switch a server on with the disk that it had, and wait for its ssh",
			"  hastack lab start three node01", startAndWait),
		a.labOn("stop", "SERVER...", "Shut a server down in order", "  hastack lab stop three node01", stopInTime),
		a.labPowerCycle(), a.labDrop(), a.labUndrop())
	return cmd
}

func startAndWait(l *lab.Lab, ctx context.Context, server string) error {
	if err := l.Start(ctx, server); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, labStopTimeout)
	defer cancel()
	return l.WaitSSH(ctx, server)
}

func stopInTime(l *lab.Lab, ctx context.Context, server string) error {
	ctx, cancel := context.WithTimeout(ctx, labStopTimeout)
	defer cancel()
	return l.Stop(ctx, server)
}

func (a *app) labUp() *cobra.Command {
	o := lab.Options{}
	cmd := &cobra.Command{
		Use:   "up TOPOLOGY",
		Short: "Make the servers and switches of a topology, or complete them",
		Long: "Make the servers and switches of a topology. The first time on a machine it builds the root that all servers share\n" +
			"(a few minutes, needs Debian's mirror); then no network is needed. Run again, it starts what is off.",
		Example: "  sudo hastack lab up examples/three.yaml",
		Args:    exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p := newProgress(a.out)
			defer p.end("")
			o.StateDir, o.TopologyFile, o.Progress = a.stateDir, args[0], p.begin
			l, err := lab.Up(cmd.Context(), o)
			if err != nil {
				return err
			}
			st, err := l.Status(cmd.Context())
			if err != nil {
				return err
			}
			p.begin("memory", fmt.Sprintf("%d MiB in %d servers", st.MemoryMB, len(st.Servers)))
			p.end("")
			fmt.Fprintf(a.out, "\nNext\n  hastack deploy %s\n  hastack lab ssh %s %s\n  hastack lab show %s\n", args[0], l.Name(), l.Servers()[0], l.Name())
			return nil
		},
	}
	cmd.Flags().StringVar(&o.Cache, "cache", lab.DefaultCache, "where the root that the servers share is kept")
	cmd.Flags().StringVar(&o.Mirror, "mirror", lab.DefaultMirror, "Debian mirror to build that root from")
	return cmd
}

func (a *app) labDown() *cobra.Command {
	return &cobra.Command{
		Use:     "down NAME",
		Short:   "Remove a lab: its servers, their disks, its switches, everything",
		Example: "  sudo hastack lab down three",
		Args:    exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if os.Geteuid() != 0 {
				return errors.New("a lab is root's: run as root (sudo)")
			}
			p := newProgress(a.out)
			p.begin("down", args[0])
			err := lab.Down(cmd.Context(), a.stateDir, args[0])
			if err == nil {
				p.end(args[0] + " is gone")
			}
			return err
		},
	}
}

func (a *app) labList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the labs of the state directory", Example: "  hastack lab list", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			names, err := lab.List(a.stateDir)
			for _, n := range names {
				fmt.Fprintln(a.out, n)
			}
			return err
		},
	}
}

func (a *app) labShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show [NAME]",
		Short:   "Show a lab's servers, cables, memory, and what is broken on purpose",
		Example: "  sudo hastack lab show three\n  sudo hastack lab show three --json",
		Args:    maxArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.openLab(args)
			if err != nil {
				return err
			}
			st, err := l.Status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(a.out)
				enc.SetIndent("", "  ")
				return enc.Encode(st)
			}
			return a.printLab(st)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "for scripts")
	return cmd
}

func (a *app) printLab(st *lab.Status) error {
	fmt.Fprintf(a.out, "lab %s · %d servers · %d MiB · bonding by the %s · fabric process %s\n", st.Name, len(st.Servers), st.MemoryMB, st.Bonding, st.Fabric)
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, s := range st.Servers {
		var legs []string
		for _, k := range s.Links {
			_, leg, _ := strings.Cut(k.Name, "/")
			switch {
			case !k.Up:
				leg += " down"
			case k.Active:
				leg += "*"
			}
			legs = append(legs, leg)
		}
		fmt.Fprintf(w, "%s\t%s\t%d MiB\tof %d\t%d MiB cache\t%s\n", s.Name, s.Power, s.MemoryMB, s.LimitMB, s.CacheMB, strings.Join(legs, " "))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, c := range st.Cuts {
		fmt.Fprintln(a.out, "! cut", c)
	}
	for _, d := range st.Drops {
		fmt.Fprintln(a.out, "! drop", d)
	}
	return nil
}

// openLab is the lab that the arguments name, or the only one there is.
func (a *app) openLab(args []string) (*lab.Lab, error) {
	if len(args) > 0 && args[0] != "" {
		return lab.Open(a.stateDir, args[0])
	}
	names, err := lab.List(a.stateDir)
	if err != nil {
		return nil, err
	}
	if len(names) != 1 {
		return nil, usageError{fmt.Errorf("there are %d labs in %s: say which (hastack lab list)", len(names), a.stateDir)}
	}
	return lab.Open(a.stateDir, names[0])
}

func (a *app) labHealAll() *cobra.Command {
	return &cobra.Command{
		Use: "heal-all [NAME]", Short: "Undo every cut and drop, and thaw every server", Example: "  sudo hastack lab heal-all three", Args: maxArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.openLab(args)
			if err != nil {
				return err
			}
			return l.HealAll(cmd.Context())
		},
	}
}

// labOn is a command that does one thing to each of its targets.
func (a *app) labOn(verb, targets, short, example string, do func(*lab.Lab, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME " + targets, Short: short, Example: example, Args: minArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Open(a.stateDir, args[0])
			if err != nil {
				return err
			}
			for _, target := range args[1:] {
				if err := do(l, cmd.Context(), target); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// labFabric is the lab's own process; lab up starts it.
func (a *app) labFabric() *cobra.Command {
	return &cobra.Command{
		Use: "fabric NAME", Hidden: true, Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return lab.RunFabric(cmd.Context(), a.stateDir, args[0], slog.New(slog.NewJSONHandler(a.out, nil)))
		},
	}
}
