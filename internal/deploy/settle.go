package deploy

import (
	"context"
	"fmt"
	"strings"

	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/topology"
)

// settleHead defines what the generated lines of a settle script call. A unit
// that does not come up is named with the last lines of its journal.
const settleHead = `set -u; export LC_ALL=C
broken() {
  for u in "$@"; do
    if ! systemctl is-active -q "$u"; then
      echo "$u does not run: $(systemctl show -p Result --value "$u")" >&2
      journalctl -u "$u" -n 6 -o cat --no-pager 2>/dev/null | cut -c1-300 >&2
    fi
  done
  exit 1
}
run() { ( eval "$1" ) </dev/null || { echo "this command did not succeed: $1" >&2; exit 1; }; }
up() { verb=$1; shift; systemctl reset-failed "$@" 2>/dev/null; systemctl "$verb" "$@" </dev/null || broken "$@"; }
`

// Settle does the default handling of units on one server for a part's Start:
// what changes asks for, in the order command, disable, enable, stop, restart,
// reload, start. It is idempotent.
func (c *Context) Settle(ctx context.Context, s *topology.Server, changes []Change) error {
	by := map[string][]string{}
	for _, ch := range changes {
		if ch.Server == s.Name {
			by[ch.Kind] = append(by[ch.Kind], cluster.Quote(ch.Name))
		}
	}
	var script strings.Builder
	script.WriteString(settleHead)
	for _, cmd := range by[KindCommand] {
		script.WriteString("run " + cmd + "\n")
	}
	all := func(kind, format string) {
		if len(by[kind]) > 0 {
			fmt.Fprintf(&script, format+"\n", strings.Join(by[kind], " "))
		}
	}
	all(KindDisable, "systemctl disable -q %s </dev/null || exit 1")
	all(KindEnable, "systemctl unmask -q %[1]s </dev/null; systemctl enable -q %[1]s </dev/null || exit 1")
	all(KindStop, "systemctl stop %s </dev/null || exit 1")
	all(KindRestart, "up try-restart %s")
	all(KindReload, "up try-reload-or-restart %s")
	all(KindStart, "up start %s")
	if script.Len() == len(settleHead) {
		return nil
	}
	_, err := c.Run(ctx, s, script.String(), nil)
	return err
}
