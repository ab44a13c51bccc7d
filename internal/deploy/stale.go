package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/topology"
)

// stalePart is the name under which the removal of what a server no longer
// needs is planned and shown.
const stalePart = "retired"

// noteScript prints what deploy noted on a server, each line after the part.
const noteScript = `cd "${HASTACK_DEPLOY_ROOT:-}` + stateDir + `" 2>/dev/null || exit 0
for f in *.records; do [ -f "$f" ] && sed "s/^/${f%.records}	/" "$f"; done; exit 0`

// stale is what a server still has of parts that it had a role for once.
type stale struct {
	server  *topology.Server
	parts   []string
	changes []Change
}

// findStale asks all servers, if parts are all that there are.
func findStale(ctx context.Context, c *Context, parts []*Part) ([]*stale, error) {
	if !c.Complete {
		return nil, nil
	}
	var mu sync.Mutex
	var out []*stale
	err := c.Everywhere(ctx, c.Topology.Servers, func(ctx context.Context, s *topology.Server) error {
		notes, err := c.Run(ctx, s, noteScript, nil)
		if err != nil {
			return err
		}
		if st := staleOf(c.Topology, s, parts, string(notes)); st != nil {
			mu.Lock()
			out = append(out, st)
			mu.Unlock()
		}
		return nil
	})
	return out, err
}

// staleOf compares the notes of a server with the parts that it has now. What
// a part of now has noted too stays.
func staleOf(t *topology.Topology, s *topology.Server, parts []*Part, notes string) *stale {
	now := map[string]bool{}
	for _, p := range parts {
		now[p.Name] = slices.Contains(p.Servers(t), s)
	}
	kept := map[string]bool{}
	st := &stale{server: s}
	var old [][]string
	for line := range strings.Lines(notes) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 3 {
			continue
		}
		if now[f[0]] {
			kept[f[1]] = true
			continue
		}
		if !slices.Contains(st.parts, f[0]) {
			st.parts = append(st.parts, f[0])
		}
		old = append(old, f)
	}
	for _, f := range old {
		kind, name, _ := strings.Cut(f[1], " ")
		if kept[f[1]] {
			continue
		}
		switch kind {
		case "unit":
			st.changes = append(st.changes, Change{Server: s.Name, Part: stalePart, Kind: KindStop, Name: name, Detail: "the server is no longer one of " + f[0]})
		case "file":
			st.changes = append(st.changes, Change{Server: s.Name, Part: stalePart, Kind: KindRemove, Name: name, Detail: "of " + f[0]})
		}
	}
	if len(st.parts) == 0 {
		return nil
	}
	return st
}

// retireAll finds what is stale, shows and retires it.
func (c *Context) retireAll(ctx context.Context, parts []*Part) ([]Change, error) {
	found, err := findStale(ctx, c, parts)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	c.progress().Begin(stalePart, len(found))
	if err := c.retireStale(ctx, found); err != nil {
		return nil, fmt.Errorf("%s: %w", stalePart, err)
	}
	var made []Change
	for _, st := range found {
		made = append(made, st.changes...)
	}
	c.progress().End(summary(made))
	return made, nil
}

// retireStale stops and removes what findStale has found.
func (c *Context) retireStale(ctx context.Context, found []*stale) error {
	by := map[string]*stale{}
	var servers []*topology.Server
	for _, st := range found {
		by[st.server.Name] = st
		servers = append(servers, st.server)
	}
	return c.Everywhere(ctx, servers, func(ctx context.Context, s *topology.Server) error {
		st := by[s.Name]
		var script strings.Builder
		script.WriteString("set -u; export LC_ALL=C; r=${HASTACK_DEPLOY_ROOT:-}\n")
		for _, ch := range st.changes {
			if ch.Kind == KindStop {
				fmt.Fprintf(&script, "systemctl disable -q %[1]s </dev/null 2>/dev/null; systemctl stop %[1]s </dev/null || exit 1\n", cluster.Quote(ch.Name))
			}
		}
		for _, ch := range st.changes {
			if ch.Kind == KindRemove {
				fmt.Fprintf(&script, "rm -f \"$r\"%s || exit 1\n", cluster.Quote(ch.Name))
			}
		}
		script.WriteString("systemctl daemon-reload </dev/null\n")
		if _, err := c.Run(ctx, s, script.String(), nil); err != nil {
			return err
		}
		if slices.Contains(st.parts, "rabbitmq") {
			if err := forgetMember(ctx, c, s); err != nil {
				return err
			}
		}
		// The notes go last: until then a killed deploy finds what is left.
		var notes []string
		for _, p := range st.parts {
			notes = append(notes, cluster.Quote(p+".records"), cluster.Quote(p+".pending"))
		}
		_, err := c.Run(ctx, s, "cd \"${HASTACK_DEPLOY_ROOT:-}"+stateDir+"\" && rm -f "+strings.Join(notes, " "), nil)
		return err
	})
}
