package logs

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/topology"
)

func line(at time.Time, server, rest string) string {
	return stamp(at) + `+00:00","server":"` + server + `","unit":"hastack-nova-api.service","program":"hastack","severity":"info",` + rest + "}\n"
}

// run does on this machine what a search does on a server that keeps logs.
func run(t *testing.T, dir string, q Query) []Line {
	t.Helper()
	for _, tool := range []string{"awk", "zcat", "grep", "tail"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	if q.Limit == 0 {
		q.Limit = 100
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(q.script(), Dir, dir, 1)).Output()
	if err != nil {
		t.Fatal(err)
	}
	return merge([][]byte{out, out}, q.Limit)
}

func texts(lines []Line) string {
	var out []string
	for _, l := range lines {
		out = append(out, l.Server+":"+l.Message+string(l.Entry))
	}
	return strings.Join(out, " ")
}

func TestSearchFindsWhatIsAskedFor(t *testing.T) {
	dir, now := t.TempDir(), time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	today := line(now, "node02", `"entry":{"level":"INFO","msg":"two","request_id":"req-1"}`) +
		line(now.Add(-time.Minute), "node01", `"entry":{"level":"ERROR","msg":"one","request_id":"req-1"}`) +
		line(now.Add(time.Second), "node01", `"message":"it's text"`)
	if err := os.WriteFile(filepath.Join(dir, "2026-11-21.jsonl"), []byte(today), 0o600); err != nil {
		t.Fatal(err)
	}
	var old bytes.Buffer
	z := gzip.NewWriter(&old)
	fmt.Fprint(z, line(now.Add(-48*time.Hour), "node03", `"entry":{"level":"INFO","msg":"old","request_id":"req-1"}`))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "2026-11-19.jsonl.gz"), old.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{RequestID: "req-1", Since: now.Add(-time.Hour)}, `node01:{"level":"ERROR","msg":"one","request_id":"req-1"} node02:{"level":"INFO","msg":"two","request_id":"req-1"}`},
		{Query{RequestID: "req-1", Level: "error"}, `node01:{"level":"ERROR","msg":"one","request_id":"req-1"}`},
		{Query{RequestID: "req-1", Until: now.Add(-time.Hour)}, `node03:{"level":"INFO","msg":"old","request_id":"req-1"}`},
		{Query{Server: "node01", Since: now}, `node01:it's text`},
		{Query{Text: "it's"}, `node01:it's text`},
		{Query{Text: "$(touch /tmp/x)"}, ``},
		{Query{Limit: 1}, `node01:it's text`},
		{Query{RequestID: "req-2"}, ``},
	} {
		if got := texts(run(t, dir, c.q)); got != c.want {
			t.Errorf("%+v:\n got %s\nwant %s", c.q, got, c.want)
		}
	}
	if got := run(t, filepath.Join(dir, "none"), Query{}); len(got) != 0 {
		t.Errorf("found %v where there are no logs", got)
	}
}

func TestQueriesAreChecked(t *testing.T) {
	topo, err := topology.Load("../../examples/three.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{Limit: 10, RequestID: "req-1'; rm -rf /"}, "is no request id"},
		{Query{Limit: 10, Server: "node09"}, "is no server of three"},
		{Query{}, "limit 0"},
		{Query{Limit: 10, Text: "a\nb"}, "one line"},
	} {
		if err := c.q.Check(topo); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.q, err)
		}
	}
	if err := (&Query{Limit: 10, RequestID: "req-2f1c9f4e", Server: "node01", Text: `"x" '$`}).Check(topo); err != nil {
		t.Error(err)
	}
}

// A program that is killed may leave half an object; the line is shown all the
// same, at its place.
func TestBrokenEntriesAreText(t *testing.T) {
	at := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	l := parse([]byte(strings.TrimSpace(line(at, "node01", `"entry":{"msg":"ha`))))
	if !l.Time.Equal(at) || l.Server != "node01" || !strings.Contains(l.Message, `{"msg":"ha`) {
		t.Errorf("%+v", l)
	}
	if l := parse([]byte("nonsense")); l.Message != "nonsense" {
		t.Errorf("%+v", l)
	}
}

func TestLinesReadWell(t *testing.T) {
	at := time.Date(2026, 11, 21, 10, 0, 0, 5_000_000, time.UTC)
	l := parse([]byte(strings.TrimSpace(line(at, "node01", `"entry":{"time":"x","level":"WARN","msg":"slow","ms":12,"request_id":"req-1"}`))))
	if got, want := l.String(), "2026-11-21 10:00:00.005 node01       hastack-nova-api         warn   slow ms=12 request_id=req-1"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestTwoServersInDifferentRacksKeepLogs(t *testing.T) {
	for name, want := range map[string]string{"three": "node01 node02", "small": "controller01 controller02", "reference-27": "admin01 controller01"} {
		topo, err := topology.Load("../../examples/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range Servers(topo) {
			got = append(got, s.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
}
