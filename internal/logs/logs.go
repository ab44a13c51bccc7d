// Package logs is where the logs of a cluster are and how they are searched.
//
// Every server sends its journal, as one JSON object a line, to the servers of
// [Servers], which keep a file a day (deploy writes that configuration).
// [Search] asks all of them over SSH at the same time and merges what they
// say, so one of them may be lost or have been away.
//
// A line has the keys time (UTC), server, unit, program, severity, and either
// entry, the JSON object that the program itself logged, or message.
package logs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/topology"
)

// Dir holds the files of all servers, DAY.jsonl, on those that keep them;
// older ones are compressed.
const Dir = "/var/log/hastack"

// Keep is how long they are kept.
const Keep = 30 * 24 * time.Hour

// copies is how many servers keep all logs.
const copies = 2

// Servers keep the logs of all servers: two of the monitors, in different racks
// if there are.
func Servers(t *topology.Topology) []*topology.Server {
	all := t.Monitors()
	if len(all) <= copies {
		return all
	}
	second := 1
	for i, s := range all[1:] {
		if s.Rack != all[0].Rack {
			second = i + 1
			break
		}
	}
	return []*topology.Server{all[0], all[second]}
}

// A Query says which lines are wanted. Empty fields want all.
type Query struct {
	RequestID string
	Server    string
	Text      string // somewhere in the line
	Level     string // of an entry: ERROR
	Since     time.Time
	Until     time.Time
	Limit     int // the newest so many, per server asked
}

// A Line is one line of the logs.
type Line struct {
	Time     time.Time       `json:"time"`
	Server   string          `json:"server"`
	Unit     string          `json:"unit,omitempty"`
	Program  string          `json:"program,omitempty"`
	Severity string          `json:"severity,omitempty"`
	Message  string          `json:"message,omitempty"`
	Entry    json.RawMessage `json:"entry,omitempty"`
}

// requestID is what request ids look like; the check also keeps a search from
// being a command.
var requestID = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`)

// Check tells what is wrong with a query.
func (q *Query) Check(t *topology.Topology) error {
	switch {
	case q.RequestID != "" && !requestID.MatchString(q.RequestID):
		return fmt.Errorf("%q is no request id: take it from X-Openstack-Request-Id, req-…", q.RequestID)
	case q.Server != "" && t.Server(q.Server) == nil:
		return fmt.Errorf("%q is no server of %s: hastack status lists them", q.Server, t.Name)
	case q.Limit < 1 || q.Limit > 20_000:
		return fmt.Errorf("limit %d: from 1 to 20000", q.Limit)
	case !q.Until.IsZero() && q.Until.Before(q.Since):
		return errors.New("the time asked for ends before it begins")
	case strings.ContainsAny(q.Text, "\n\x00"):
		return errors.New("the text to look for is one line")
	}
	return nil
}

// stamp begins a line of that time, as rsyslog writes it.
func stamp(t time.Time) string {
	return `{"time":"` + t.UTC().Format("2006-01-02T15:04:05.000000")
}

// script prints the lines that match, the newest last. Files of days that
// cannot have any are not opened.
func (q *Query) script() string {
	filters := []string{}
	grep := func(text string) { filters = append(filters, "grep -aF -- "+cluster.Quote(text)) }
	if q.RequestID != "" {
		grep(q.RequestID)
	}
	if q.Server != "" {
		grep(`"server":"` + q.Server + `"`)
	}
	if q.Level != "" {
		grep(`"level":"` + strings.ToUpper(q.Level) + `"`)
	}
	if q.Text != "" {
		grep(q.Text)
	}
	if !q.Since.IsZero() {
		filters = append(filters, "LC_ALL=C awk -v s="+cluster.Quote(stamp(q.Since))+" '$0 >= s'")
	}
	if !q.Until.IsZero() {
		filters = append(filters, "LC_ALL=C awk -v s="+cluster.Quote(stamp(q.Until))+" '$0 <= s'")
	}
	filters = append(filters, fmt.Sprintf("tail -n %d", q.Limit))
	first := ""
	if !q.Since.IsZero() {
		first = q.Since.UTC().Format("2006-01-02")
	}
	// A day begins at different moments on servers whose clocks differ, so the
	// day before is looked at as well.
	if first != "" {
		first = q.Since.UTC().Add(-time.Hour).Format("2006-01-02")
	}
	return "cd " + Dir + " 2>/dev/null || exit 0\n" +
		"for f in *.jsonl.gz *.jsonl; do\n" +
		"[ -e \"$f\" ] || continue\n" +
		"[ \"${f%%.*}\" \\< " + cluster.Quote(first) + " ] && continue\n" +
		"case $f in *.gz) zcat -- \"$f\";; *) cat -- \"$f\";; esac\n" +
		"done | " + strings.Join(filters, " | ") + "\nexit 0\n"
}

// Search returns the lines that match, by time. Servers that keep logs and do
// not answer are errors in missing; it fails if none answers.
func Search(ctx context.Context, d *cluster.Dir, q Query) (lines []Line, missing []error, err error) {
	if err := q.Check(d.Topology); err != nil {
		return nil, nil, err
	}
	keepers := Servers(d.Topology)
	found, errs := make([][]byte, len(keepers)), make([]error, len(keepers))
	var all sync.WaitGroup
	for i, s := range keepers {
		all.Go(func() {
			conn, err := d.SSH(ctx, s)
			if err == nil {
				found[i], err = conn.Run(ctx, q.script(), nil)
			}
			errs[i] = err
		})
	}
	all.Wait()
	for _, e := range errs {
		if e != nil {
			missing = append(missing, e)
		}
	}
	if len(missing) == len(keepers) {
		return nil, nil, fmt.Errorf("no server that keeps the logs answers: %w", errors.Join(missing...))
	}
	return merge(found, q.Limit), missing, nil
}

// merge joins what the servers said: equal lines are one, in the order of time.
func merge(found [][]byte, limit int) []Line {
	seen := map[string]bool{}
	var out []Line
	for _, b := range found {
		for raw := range bytes.Lines(b) {
			raw = bytes.TrimRight(raw, "\n")
			if len(raw) == 0 || seen[string(raw)] {
				continue
			}
			seen[string(raw)] = true
			out = append(out, parse(raw))
		}
	}
	slices.SortStableFunc(out, func(a, b Line) int { return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.Server, b.Server)) })
	if len(out) > limit {
		out = out[len(out)-limit:]
	}
	return out
}

// head takes what rsyslog wrote from a line whose program wrote half a JSON
// object.
var head = regexp.MustCompile(`^\{"time":"([^"]+)","server":"([^"]*)","unit":"([^"]*)","program":"([^"]*)","severity":"([^"]*)","(?:entry|message)":`)

func parse(raw []byte) Line {
	var l Line
	if json.Unmarshal(raw, &l) == nil {
		return l
	}
	l = Line{Message: string(raw)}
	if m := head.FindSubmatch(raw); m != nil {
		l.Time, _ = time.Parse(time.RFC3339, string(m[1])) // zero sorts first, with the text whole
		l.Server, l.Unit, l.Program, l.Severity = string(m[2]), string(m[3]), string(m[4]), string(m[5])
		l.Message = string(raw[len(m[0]):])
	}
	return l
}

// String is the line for people: time, server, who, level, text, and the
// remaining keys of an entry.
func (l Line) String() string {
	who := strings.TrimSuffix(cmp.Or(l.Unit, l.Program), ".service")
	text, level := l.Message, l.Severity
	var entry map[string]any
	if json.Unmarshal(l.Entry, &entry) == nil && entry != nil {
		level = strings.ToLower(cmp.Or(word(entry["level"]), level))
		text = word(entry["msg"])
		var keys []string
		for k := range entry {
			if !slices.Contains([]string{"time", "level", "msg"}, k) {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			text += " " + k + "=" + word(entry[k])
		}
	}
	return fmt.Sprintf("%s %-12s %-24s %-6s %s", l.Time.UTC().Format("2006-01-02 15:04:05.000"), l.Server, who, level, strings.TrimSpace(text))
}

func word(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
