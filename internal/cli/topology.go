package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/topology"
)

func (a *app) topologyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topology",
		Short: "Check and draw the file that describes a cluster",
		Long:  "Check and draw the file that describes a cluster: its servers and roles, networks, switches and virtual addresses.",
	}
	cmd.AddCommand(a.topologyCheckCommand(), a.topologyShowCommand(), a.topologySchemaCommand())
	return cmd
}

func (a *app) topologyCheckCommand() *cobra.Command {
	var asJSON, strict bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say everything that is wrong with a topology file, by line",
		Long: "Say everything that is wrong with a topology file, by line. Warnings do not refuse the file.\n" +
			"Exit code 0 when it can be deployed, 1 when not.",
		Example: "  hastack topology check examples/three.yaml",
		Args:    exactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			t, err := topology.Load(args[0])
			if asJSON {
				return a.checkJSON(t, err)
			}
			if err != nil {
				return err
			}
			for _, w := range t.Warnings() {
				fmt.Fprintf(a.out, "warning: %s\n", w)
			}
			if strict && len(t.Warnings()) > 0 {
				return fmt.Errorf("%s has %d warnings", args[0], len(t.Warnings()))
			}
			_, err = fmt.Fprintf(a.out, "ok: %s\n", t.Summary())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&strict, "strict", false, "exit code 1 for warnings, too")
	return cmd
}

func (a *app) checkJSON(t *topology.Topology, err error) error {
	out := struct {
		Problems []topology.Problem `json:"problems"`
		Warnings []topology.Problem `json:"warnings"`
	}{[]topology.Problem{}, []topology.Problem{}}
	var p *topology.Problems
	switch {
	case errors.As(err, &p):
		out.Problems = p.List
	case err != nil:
		return err
	default:
		out.Warnings = append(out.Warnings, t.Warnings()...)
	}
	if err := json.NewEncoder(a.out).Encode(out); err != nil {
		return err
	}
	if p != nil {
		return fmt.Errorf("%s has %d problems", p.File, len(p.List))
	}
	return nil
}

func (a *app) topologyShowCommand() *cobra.Command {
	var asJSON bool
	var svg string
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Draw a cluster: racks, addresses, switch ports, virtual addresses, capacity",
		Example: "  hastack topology show examples/reference-27.yaml\n" +
			"  hastack topology show examples/reference-27.yaml --svg cluster.svg",
		Args: exactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			t, err := topology.Load(args[0])
			switch {
			case err != nil:
				return err
			case asJSON:
				enc := json.NewEncoder(a.out)
				enc.SetIndent("", "  ")
				return enc.Encode(t.View())
			case svg != "":
				if err := config.WriteFile(svg, t.SVG(), 0o644); err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.out, "%s: %s\n", svg, t.Summary())
				return err
			}
			return t.Draw(a.out)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print everything that derives from the file as JSON")
	cmd.Flags().StringVar(&svg, "svg", "", "draw into this SVG file")
	return cmd
}

func (a *app) topologySchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON schema of topology files, for editors", Args: noArgs,
		Example: "  hastack topology schema > topology.schema.json   # and begin files with: # yaml-language-server: $schema=topology.schema.json",
		RunE: func(*cobra.Command, []string) error {
			_, err := a.out.Write(topology.Schema())
			return err
		},
	}
}
