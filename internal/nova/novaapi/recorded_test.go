package novaapi_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/samples from the answers")

// volatile are values that differ from run to run; the recorded ones are made
// alike, so that a new recording changes only what changed.
var volatile = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`-----BEGIN[^"]*-----END[^"]*`), "PRIVATE KEY"},
	{regexp.MustCompile(`ssh-[a-z0-9]+ [A-Za-z0-9+/=]+`), "ssh-ed25519 AAAA"},
	{regexp.MustCompile(`([0-9a-f]{2}:){15}[0-9a-f]{2}`), "00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`), "11111111-2222-4333-8444-555555555555"},
	{regexp.MustCompile(`\b[0-9a-f]{56}\b`), strings.Repeat("0", 56)},
	{regexp.MustCompile(`instance-[0-9a-f]{8}|r-[0-9a-f]{8}`), "instance-00000001"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+`), "2026-01-02T03:04:05.678901"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "2026-01-02T03:04:05Z"},
	{regexp.MustCompile(`"(adminPass|uptime)": "[^"]*"`), `"$1": "x"`},
	{regexp.MustCompile(`"(hours|total_[a-z_]*|uptime|cpu[a-z0-9_]*time|time)": [0-9.e+-]+`), `"$1": 1.5`},
}

// TestAnswersHaveTheShapeThatWasRecorded holds every answer against this
// repository's own samples, which need no folder of published ones.
func TestAnswersHaveTheShapeThatWasRecorded(t *testing.T) {
	c, fill := fixture(t)
	for _, s := range contract() {
		file := filepath.Join("testdata", "samples", s.file)
		t.Run(s.file, func(t *testing.T) {
			persona, body := "member", s.body
			if s.admin {
				persona = "admin"
			}
			if m, ok := body.(M); ok {
				b, err := json.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				body = fill(string(b))
			}
			got := c.Do(s.minor(), persona, s.method, fill(s.path), body)
			var answer any
			if err := json.Unmarshal(got.Body, &answer); err != nil || got.Status != s.status {
				t.Fatalf("%d %v: %s", got.Status, err, got.Body)
			}
			if *update {
				record(t, file, answer)
				return
			}
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v (run the test with -update)", err)
			}
			var want any
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatal(err)
			}
			for _, d := range differ("", want, answer) {
				t.Error(d)
			}
		})
	}
}

func record(t *testing.T, file string, answer any) {
	t.Helper()
	b, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b) + "\n"
	for _, v := range volatile {
		text = v.re.ReplaceAllString(text, v.by)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
