package status

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Style is how text is marked on a terminal; the zero Style marks nothing.
type Style struct{ Good, Bad, Dim, End string }

// Terminal marks with colours.
func Terminal() Style {
	return Style{Good: "\x1b[32m", Bad: "\x1b[31m", Dim: "\x1b[2m", End: "\x1b[0m"}
}

// gap separates facts of one line.
const gap = "   "

// Write prints the report for people: a line a layer, and below a line that
// begins with "!" for each thing that is wrong.
func (r *Report) Write(w io.Writer, st Style) error {
	var b strings.Builder
	r.head(&b, st)
	for _, l := range []struct {
		layer string
		facts []string
	}{
		{"servers", r.serverFacts()},
		{"API", r.apiFacts()},
		{"database", r.databaseFacts()},
		{"bus", r.busFacts()},
		{"cache", []string{fmt.Sprintf("memcached %s", r.Cache)}},
		{"balancers", r.balancerFacts()},
		{"VIPs", r.vipFacts()},
		{"routers", r.networkFacts()},
		{"compute", r.computeFacts()},
		{"links", r.hostFacts()},
		{"keys", r.keyFacts()},
		{"alarms", r.alarmFacts()},
	} {
		facts := slices.DeleteFunc(l.facts, func(f string) bool { return f == "" })
		if len(facts) > 0 {
			fmt.Fprintf(&b, "%-12s %s\n", l.layer, strings.Join(facts, gap))
		}
	}
	r.writeProblems(&b, st)
	_, err := io.WriteString(w, b.String())
	return err
}

func (c Count) String() string { return fmt.Sprintf("%d/%d", c.Good, c.Of) }

func (r *Report) head(b *strings.Builder, st Style) {
	control := 0
	for _, s := range r.Servers {
		if slices.Contains(s.Roles, "control") {
			control++
		}
	}
	verdict := st.Good + "healthy" + st.End
	if !r.Healthy {
		verdict = fmt.Sprintf("%s%d %s%s", st.Bad, len(r.Problems), plural(len(r.Problems), "problem", "problems"), st.End)
	}
	left := fmt.Sprintf("%s · region %s · %d %s · %d control · ", r.Cluster, r.Region, len(r.Servers), plural(len(r.Servers), "server", "servers"), control)
	audit := "no audit yet"
	if a := r.Audit; a != nil {
		audit = fmt.Sprintf("audit %s ago: %d %s", ago(r.Time.Sub(a.At)), a.Findings, plural(a.Findings, "finding", "findings"))
	}
	fmt.Fprintf(b, "%s%s%s%s\n", left, verdict, gap, audit)
}

func (r *Report) serverFacts() []string {
	c, versions := Count{}, []string{}
	for _, s := range r.Servers {
		c.add(s.Answers)
		if s.Version != "" && !slices.Contains(versions, s.Version) {
			versions = append(versions, s.Version)
		}
	}
	out := []string{c.String() + " answer"}
	if len(versions) > 0 {
		out = append(out, plural(len(versions), "version ", "versions ")+strings.Join(versions, ", "))
	}
	return out
}

func (r *Report) apiFacts() []string {
	out := []string{r.API.Ready.String() + " ready"}
	if r.API.Ready.Of == 0 {
		out[0] = "unknown"
	}
	switch {
	case r.API.Through == "":
	case !r.API.Answers:
		out = append(out, "no answer at "+r.API.Through)
	default:
		out = append(out, fmt.Sprintf("answers in %s", short(r.API.Took)))
	}
	if p := r.API.Rates; p != nil {
		out = append(out, "p50 "+short(p.P50), "p99 "+short(p.P99), fmt.Sprintf("errors %.2f %% (1 h)", p.Errors*100))
	}
	return out
}

func (r *Report) databaseFacts() []string {
	d := &r.Database
	writer := d.Writer
	if writer == "" {
		writer = "unknown"
	}
	facts := fmt.Sprintf("galera %s synced, writer %s, lag %d", d.Synced, writer, d.Lag)
	if !d.Quorum {
		facts += ", no quorum"
	}
	return []string{facts}
}

func (r *Report) busFacts() []string {
	b := &r.Bus
	facts := fmt.Sprintf("rabbitmq %s, %d queues, %d unsynced, depth %d", b.Running, b.Queues, b.Unsynced, b.Depth)
	if !b.Quorum {
		facts += ", no quorum"
	}
	return []string{facts}
}

func (r *Report) balancerFacts() []string {
	if r.Balancers.Up.Of == 0 {
		return nil
	}
	facts := fmt.Sprintf("haproxy %s, %s", r.Balancers.Up, r.Balancers.Manager)
	if r.Balancers.Manager == "pacemaker" {
		facts += map[bool]string{true: " with quorum", false: " without quorum"}[r.Balancers.Quorum]
	}
	return []string{facts}
}

func (r *Report) vipFacts() []string {
	var out []string
	for _, v := range r.VIPs {
		holder := strings.Join(v.Holders, "+")
		if holder == "" {
			holder = "nobody"
		}
		out = append(out, v.Address+" "+holder)
	}
	return out
}

func (r *Report) networkFacts() []string {
	n := &r.Network
	if !n.Known {
		return []string{"unknown"}
	}
	return []string{fmt.Sprint(n.Routers), fmt.Sprintf("DHCP %d %s", n.DHCP, plural(n.DHCP, "network", "networks")), fmt.Sprintf("agents %s", n.Agents)}
}

func (r *Report) computeFacts() []string {
	c := &r.Compute
	if !c.Known {
		return []string{"unknown"}
	}
	out := []string{c.Hosts.String(), fmt.Sprintf("%d %s", c.Servers, plural(c.Servers, "server", "servers")), fmt.Sprintf("%.0f %% RAM", c.RAM*100)}
	if c.Disabled > 0 {
		out = append(out, fmt.Sprintf("%d disabled", c.Disabled))
	}
	switch {
	case c.Hosts.Of < 2:
	case len(c.Essential) == 0:
		out = append(out, "N+1: any host may die")
	default:
		out = append(out, "no room for the servers of "+list(c.Essential))
	}
	return out
}

func (r *Report) keyFacts() []string {
	var out []string
	k := &r.Keys
	if !k.FernetRotated.IsZero() {
		out = append(out, fmt.Sprintf("fernet rotated %s ago", ago(r.Time.Sub(k.FernetRotated))))
	}
	if !k.FirstExpiry.IsZero() {
		out = append(out, fmt.Sprintf("certificates: first expires in %s", ago(k.FirstExpiry.Sub(r.Time))))
	}
	return out
}

func (r *Report) hostFacts() []string {
	if r.Links.Of == 0 && r.Units.Of == 0 {
		return []string{"unknown"}
	}
	return []string{fmt.Sprintf("%s legs up", r.Links), r.peerFact(), fmt.Sprintf("units %s active", r.Units), r.clockFact()}
}

func (r *Report) peerFact() string {
	if r.Peers.Hear.Of == 0 {
		return ""
	}
	return fmt.Sprintf("peers %s within %s", r.Peers.Hear, short(r.Peers.Worst))
}

func (r *Report) clockFact() string {
	c := &r.Clock
	if c.Synchronised.Of == 0 {
		return ""
	}
	return fmt.Sprintf("clocks %s within %s", c.Synchronised, short(c.Worst))
}

func (r *Report) alarmFacts() []string {
	a := &r.Alarms
	switch {
	case !a.Known:
		return []string{"unknown: no monitor answers"}
	case len(a.Firing) == 0:
		return []string{"none"}
	}
	var names []string
	for _, f := range a.Firing {
		name := f.Name
		if f.Server != "" {
			name += " (" + f.Server + ")"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return []string{fmt.Sprintf("%d firing: %s", len(a.Firing), list(names))}
}

// writeProblems aligns where and what, and puts the runbook's place behind.
func (r *Report) writeProblems(b *strings.Builder, st Style) {
	where, text := 0, 0
	lines := make([]string, len(r.Problems))
	for i, p := range r.Problems {
		lines[i] = p.Text
		if !p.Since.IsZero() {
			lines[i] += " since " + clockTime(p.Since, r.Time)
		}
		where = max(where, len([]rune(p.Where)))
		if n := len([]rune(lines[i])); n <= 90 {
			text = max(text, n)
		}
	}
	for i, p := range r.Problems {
		fmt.Fprintf(b, "%s!%s %-*s  %-*s  %s→ %s%s\n", st.Bad, st.End, where, p.Where, text, lines[i], st.Dim, p.Runbook, st.End)
	}
}

// clockTime is a time of today as 14:02:05, of other days with the date.
func clockTime(t, now time.Time) string {
	if now.Sub(t) < 20*time.Hour {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04")
}
