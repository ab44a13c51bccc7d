package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/drill"
)

// Marks between which a document's table of drills is replaced. A document of
// several clusters names each at its beginning: <!-- drills:begin three -->.
const (
	drillsBegin = "<!-- drills:begin -->"
	drillsEnd   = "<!-- drills:end -->"
)

func (a *app) drillReportCommand() *cobra.Command {
	var out, table, only string
	cmd := &cobra.Command{
		Use:   "report DIR...",
		Short: "Merge the reports of several drills into one",
		Long: "Merge the reports of several drills of one cluster into one: rounds of equal faults come together. With --table the\n" +
			"tables are put into a document, between " + drillsBegin + " and " + drillsEnd + ". A document of several\n" +
			"clusters names the cluster in the first of the two: " + beginMark("three") + ".",
		Example: "  hastack drill report night-1 night-2 --out week\n  hastack drill report week --table doc/ha-report.md",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("which reports? hastack drill report DIR...")}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			var list []*drill.Report
			for _, dir := range args {
				r, err := drill.Read(dir)
				if err != nil {
					return err
				}
				list = append(list, r)
			}
			names, err := regexp.Compile(only)
			if err != nil {
				return usageError{fmt.Errorf("--only: %w", err)}
			}
			merged, err := drill.Merge(list)
			if err != nil {
				return err
			}
			merged.Faults = slices.DeleteFunc(merged.Faults, func(f drill.Result) bool { return !names.MatchString(f.Name) })
			if len(merged.Faults) == 0 {
				return fmt.Errorf("no fault of these reports matches %q", only)
			}
			if out != "" {
				if err := drill.Write(out, merged); err != nil {
					return err
				}
			}
			if table != "" {
				if err := putTable(table, merged.Cluster, drill.Markdown(merged)); err != nil {
					return err
				}
			}
			if out == "" && table == "" {
				fmt.Fprint(a.out, drill.Markdown(merged))
				return nil
			}
			_, err = fmt.Fprintln(a.out, drill.TableFooter(merged, out))
			return err
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write the merged report into this directory")
	cmd.Flags().StringVar(&only, "only", "", "only faults whose names match this regular expression")
	cmd.Flags().StringVar(&table, "table", "", "put the tables into this Markdown document")
	return cmd
}

func beginMark(cluster string) string {
	return strings.Replace(drillsBegin, " -->", " "+cluster+" -->", 1)
}

// putTable replaces what is between the marks of a document, those of the
// cluster if it has them.
func putTable(file, cluster, text string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin := beginMark(cluster)
	if !strings.Contains(string(b), begin) {
		begin = drillsBegin
	}
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, drillsEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the tables: write %s and %s where they belong", file, drillsBegin, drillsEnd)
	}
	// Headings of the report are one level below the document's.
	text = strings.ReplaceAll("\n"+text, "\n#", "\n##")
	return config.WriteFile(file, []byte(before+begin+text+drillsEnd+after), 0o644)
}

// drillUpgrades lets the upgrade suite run the new release's own upgrade and
// this program's rollback, as an operator would.
func (a *app) drillUpgrades(t *drill.Target, d *cluster.Dir, binary string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	next, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	run := func(program string, args ...string) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			said, err := a.upgradeBy(ctx, program, d, args...).CombinedOutput()
			if err != nil {
				lines := strings.Split(strings.TrimSpace(string(said)), "\n")
				return fmt.Errorf("hastack upgrade: %s (%w)", lines[len(lines)-1], err)
			}
			return nil
		}
	}
	t.Upgrade, t.Rollback = run(next), run(self, "--rollback")
	return nil
}
