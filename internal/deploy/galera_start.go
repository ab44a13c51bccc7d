package deploy

import (
	"context"
	_ "embed" // the scripts under files/
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/topology"
)

//go:embed files/galera-survey.sh
var galeraSurvey string

//go:embed files/galera-position.sh
var galeraPosition string

//go:embed files/galera-found.sh
var galeraFound string

// How long deploy waits for the database.
const (
	galeraReformFor = 100 * time.Second // for agents to bring a broken cluster back
	galeraReturnFor = time.Minute       // for a member to come back by itself
	galeraJoinFor   = 15 * time.Minute  // a state transfer of a large database
)

// A member is what the database on one server is.
type member struct {
	server      *topology.Server
	primary     bool // serves, in a component with a quorum
	running     bool
	size        int
	state       int // wsrep_local_state; 4 is Synced, 2 gives others its data
	connections int
	cluster     string // UUID of its data, "" for none
	agent       bool   // a node agent runs there
}

func (m *member) synced() bool { return m.primary && (m.state == 4 || m.state == 2) }

func (m *member) daemon() string {
	switch {
	case m.primary:
		return "serving"
	case m.running:
		return "running without a quorum of members, or starting"
	}
	return "not running"
}

func surveyMember(ctx context.Context, c *Context, s *topology.Server) (*member, error) {
	out, err := c.Run(ctx, s, galeraSurvey, nil)
	if err != nil {
		return nil, err
	}
	return parseMember(s, string(out))
}

func parseMember(s *topology.Server, out string) (*member, error) {
	parts := strings.Split(strings.TrimSpace(out), " / ")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%s: the database's state cannot be read: %q", s.Name, out)
	}
	m := &member{server: s, agent: parts[2] == "agent"}
	if f := strings.Fields(parts[1]); len(f) > 0 && f[0] != "none" {
		m.cluster = f[0]
	}
	f := strings.Fields(parts[0])
	m.running = len(f) > 0 && f[0] != "stopped"
	if len(f) == 4 && f[0] == "primary" {
		m.primary = true
		var errs [3]error
		m.size, errs[0] = strconv.Atoi(f[1])
		m.state, errs[1] = strconv.Atoi(f[2])
		m.connections, errs[2] = strconv.Atoi(f[3])
		if err := errors.Join(errs[:]...); err != nil {
			return nil, fmt.Errorf("%s: the database's state cannot be read: %w", s.Name, err)
		}
	}
	return m, nil
}

// surveyMembers looks at all members; one that does not answer is an error:
// nothing may be decided without it.
func surveyMembers(ctx context.Context, c *Context) ([]*member, error) {
	servers := controlServers(c.Topology)
	var mu sync.Mutex
	var all []*member
	err := c.Everywhere(ctx, servers, func(ctx context.Context, s *topology.Server) error {
		m, err := surveyMember(ctx, c, s)
		if err == nil {
			mu.Lock()
			all = append(all, m)
			mu.Unlock()
		}
		return err
	})
	slices.SortFunc(all, func(a, b *member) int { return a.server.Host - b.server.Host })
	return all, err
}

// startGalera brings the new configuration into force. A cluster is founded
// only when every member says that there is none; after that members come and
// restart one at a time, so that a quorum always serves.
func startGalera(ctx context.Context, c *Context, changed map[string][]Change) error {
	members, err := surveyMembers(ctx, c)
	if err != nil {
		return fmt.Errorf("the database: every member must be asked before one may start: %w", err)
	}
	first, err := firstMember(ctx, c, members)
	if err != nil {
		return err
	}
	if first != nil { // founds the cluster, or begins it again
		if err := foundGalera(ctx, c, first, changed[first.server.Name]); err != nil {
			return err
		}
	}
	// The writer, which has the most clients, comes last: they move once.
	slices.SortStableFunc(members, func(a, b *member) int { return a.connections - b.connections })
	for _, m := range members {
		if m == first || len(changed[m.server.Name]) == 0 {
			continue
		}
		if err := othersServe(ctx, c, m.server); err != nil {
			return err
		}
		c.progress().Server(m.server.Name, "database joins", false)
		if err := c.Settle(ctx, m.server, changed[m.server.Name]); err != nil {
			return err
		}
		if err := awaitMember(ctx, c, m.server, galeraJoinFor); err != nil {
			return err
		}
	}
	return nil
}

// firstMember is the one that has to begin the cluster; nil if it is there.
func firstMember(ctx context.Context, c *Context, members []*member) (*member, error) {
	var data, agents int
	for _, m := range members {
		if m.primary && m.cluster != "" {
			return nil, nil
		}
		if m.cluster != "" {
			data++
		}
		if m.agent {
			agents++
		}
	}
	switch {
	case data == 0: // a cluster was never here
		return members[0], nil
	case agents == len(members):
		return nil, awaitReform(ctx, c, members)
	}
	return newestMember(ctx, c, members)
}

// awaitReform starts all members as after a power cut and leaves the rest to
// the node agents.
func awaitReform(ctx context.Context, c *Context, members []*member) error {
	for _, m := range members {
		if _, err := c.Run(ctx, m.server, "systemctl daemon-reload; systemctl start --no-block mariadb", nil); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, galeraReformFor)
	defer cancel()
	for {
		now, err := surveyMembers(ctx, c)
		if err == nil && slices.ContainsFunc(now, func(m *member) bool { return m.primary }) {
			return nil
		}
		select {
		case <-c.Clock.After(time.Second):
		case <-ctx.Done():
			return fmt.Errorf("the database has no quorum and did not come back within %v: journalctl -u hastack-node on %s says what it waits for",
				galeraReformFor, members[0].server.Name)
		}
	}
}

// newestMember stops what runs, none of which serves, and finds the member
// with the most transactions; a tie goes to the lowest host number.
func newestMember(ctx context.Context, c *Context, members []*member) (*member, error) {
	var best *member
	var bestAt int64
	cluster := ""
	for _, m := range members {
		out, err := c.Run(ctx, m.server, galeraPosition, nil)
		if err != nil {
			return nil, err
		}
		uuid, seqno, ok := strings.Cut(strings.TrimSpace(string(out)), ":")
		at, err := strconv.ParseInt(seqno, 10, 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("%s: the database's position cannot be read: %q", m.server.Name, out)
		}
		if strings.HasPrefix(uuid, "00000000-") {
			continue
		}
		if cluster != "" && uuid != cluster {
			return nil, fmt.Errorf("the databases on %s and %s have different histories (%s and %s): decide with hastack recover database --from SERVER",
				best.server.Name, m.server.Name, cluster, uuid)
		}
		if cluster = uuid; best == nil || at > bestAt {
			best, bestAt = m, at
		}
	}
	if best == nil { // begun, and nothing ever written
		return members[0], nil
	}
	return best, nil
}

// foundGalera starts the first member with the order to found the cluster.
func foundGalera(ctx context.Context, c *Context, m *member, changes []Change) error {
	c.progress().Server(m.server.Name, "database begins", false)
	if _, err := c.Run(ctx, m.server, galeraFound, nil); err != nil {
		return err
	}
	if err := c.Settle(ctx, m.server, changes); err != nil {
		return err
	}
	// What was due may have been done before the last deploy was killed.
	if _, err := c.Run(ctx, m.server, "[ ! -e /run/hastack-new-cluster ] || systemctl restart mariadb", nil); err != nil {
		return err
	}
	if err := awaitMember(ctx, c, m.server, time.Minute); err != nil {
		return err
	}
	// The one that gives a joiner its data asks as this user, by the socket.
	_, err := c.Run(ctx, m.server, "exec mariadb", strings.NewReader(
		"CREATE USER IF NOT EXISTS mysql@localhost IDENTIFIED VIA unix_socket;\n"+
			"GRANT RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR ON *.* TO mysql@localhost;\n"))
	return err
}

// othersServe waits until a quorum is left when s is stopped, or until there is
// somebody to join. One look decides nothing: a member that was thrown out of a
// busy cluster, or is giving its data away, is back within seconds by itself.
func othersServe(ctx context.Context, c *Context, s *topology.Server) error {
	return c.await(ctx, galeraReturnFor, func(ctx context.Context) error {
		members, err := surveyMembers(ctx, c)
		if err != nil {
			return err
		}
		return maySpare(members, s)
	})
}

// maySpare tells whether the database on s may be stopped and started.
func maySpare(members []*member, s *topology.Server) error {
	serving, need := 0, 1
	for _, m := range members {
		switch {
		case m.server != s && m.synced():
			serving++
		case m.server == s && m.primary:
			need = len(members) - 1 - len(members)/4 // of 3 both, of 5 three
		}
	}
	if serving < need {
		return fmt.Errorf("the database on %s is not restarted: %d of the other members serve, %d are needed", s.Name, serving, need)
	}
	return nil
}

func awaitMember(ctx context.Context, c *Context, s *topology.Server, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var last error
	for {
		m, err := surveyMember(ctx, c, s)
		if err == nil && m.primary && m.state == 4 {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("it is %s", m.daemon())
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-c.Clock.After(500 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the database on %s does not serve after %v: %w; journalctl -u mariadb there tells why", s.Name, within, last)
		}
	}
}
