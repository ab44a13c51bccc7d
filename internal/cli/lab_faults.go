package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/lab"
)

func (a *app) labSSH() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "ssh SERVER [-- COMMAND...]",
		Short: "A shell on a lab server, or one command",
		Example: "  sudo hastack lab ssh node01\n  sudo hastack lab ssh node01 -- systemctl --failed\n" +
			"  sudo hastack lab ssh --lab three node01",
		Args: minArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := a.openLab([]string{name})
			if err != nil {
				return err
			}
			ssh, err := l.SSH(args[0], args[1:]...)
			if err != nil {
				return err
			}
			return l.Exec(ssh)
		},
	}
	cmd.Flags().StringVar(&name, "lab", "", "which lab, when there are several")
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func (a *app) labExec() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "exec -- COMMAND...",
		Short: "Run a command at the operator's seat, from where the servers are reached",
		Example: "  sudo hastack lab exec -- openstack --os-cloud hastack-demo server list\n" +
			"  sudo hastack lab exec --lab three -- ping -c 1 10.3.0.11",
		Args: minArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := a.openLab([]string{name})
			if err != nil {
				return err
			}
			return l.Exec(args)
		},
	}
	cmd.Flags().StringVar(&name, "lab", "", "which lab, when there are several")
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func (a *app) labPowerCycle() *cobra.Command {
	var random bool
	cmd := &cobra.Command{
		Use:     "power-cycle [NAME]",
		Short:   "Pull all power cords at once, and switch everything on again",
		Example: "  sudo hastack lab power-cycle three --random-order",
		Args:    maxArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := a.openLab(args)
			if err != nil {
				return err
			}
			p := newProgress(a.out)
			defer p.end("")
			p.begin("power", "off and on")
			order, err := l.PowerCycle(cmd.Context(), random)
			if err != nil {
				return err
			}
			p.end(fmt.Sprintf("off and on, %s first and %s last", order[0], order[len(order)-1]))
			for i, s := range order {
				p.begin("servers", fmt.Sprintf("%d of %d answer ssh", i, len(order)))
				if err := l.WaitSSH(cmd.Context(), s); err != nil {
					return err
				}
			}
			p.end(fmt.Sprintf("%d of %d answer ssh", len(order), len(order)))
			return nil
		},
	}
	cmd.Flags().BoolVar(&random, "random-order", false, "switch the servers on in a random order")
	return cmd
}

func (a *app) labDrop() *cobra.Command {
	var (
		network string
		percent int
	)
	cmd := &cobra.Command{
		Use:   "drop NAME FROM TO",
		Short: "Lose what one server sends to another, and not the other way round",
		Long:  "Lose frames from one server to another in a network, while all links stay up. '*' is everyone, 'operator' the operator's seat.",
		Example: "  sudo hastack lab drop three node01 node02\n  sudo hastack lab drop three node01 '*' --network management\n" +
			"  sudo hastack lab drop three '*' node03 --percent 5",
		Args: exactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Open(a.stateDir, args[0])
			if err != nil {
				return err
			}
			if percent < 1 {
				return usageError{fmt.Errorf("--percent %d: give 1 to 100, or end the loss with hastack lab undrop", percent)}
			}
			return l.Drop(cmd.Context(), args[1], args[2], network, percent)
		},
	}
	cmd.Flags().StringVar(&network, "network", "management", "in which network")
	cmd.Flags().IntVar(&percent, "percent", 100, "how much of it")
	return cmd
}

func (a *app) labUndrop() *cobra.Command {
	var network string
	cmd := &cobra.Command{
		Use: "undrop NAME FROM TO", Short: "End a drop of the same servers and network", Example: "  sudo hastack lab undrop three node01 node02", Args: exactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Open(a.stateDir, args[0])
			if err != nil {
				return err
			}
			return l.Undrop(cmd.Context(), args[1], args[2], network)
		},
	}
	cmd.Flags().StringVar(&network, "network", "management", "in which network")
	return cmd
}

// minArgs and maxArgs are cobra's with the exit code of a wrong call.
func minArgs(n int) cobra.PositionalArgs { return counted(cobra.MinimumNArgs(n)) }

func maxArgs(n int) cobra.PositionalArgs { return counted(cobra.MaximumNArgs(n)) }

func counted(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w; usage: hastack %s", err, cmd.UseLine()[len("hastack "):])}
		}
		return nil
	}
}
