package topology

import (
	"fmt"
	"slices"
	"strings"
)

// A Problem is one thing that is wrong with a file, or deserves a second look.
type Problem struct {
	File string `json:"file"`
	Line int    `json:"line"` // 0 if it concerns the whole file
	// Text says what is wrong and, after the colon, what to do.
	Text string `json:"text"`
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Problems is everything that is wrong with a file, by line.
type Problems struct {
	File string
	List []Problem
}

func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, x := range p.List {
		lines[i] = x.String()
	}
	if len(lines) == 1 {
		return lines[0]
	}
	return fmt.Sprintf("topology %s has %d problems:\n  %s", p.File, len(lines), strings.Join(lines, "\n  "))
}

func (p *Problems) sort() {
	slices.SortStableFunc(p.List, func(a, b Problem) int { return a.Line - b.Line })
}

// Warnings are what the file may say but should not lightly; none refuses it.
func (t *Topology) Warnings() []Problem { return t.warnings }

// nearest is the hint that follows an unknown word: the known word that is
// closest to it, or all known words when none is close.
func nearest(word string, known []string) string {
	best, at := "", 1+len(word)/2
	for _, k := range known {
		if d := distance(strings.ToLower(word), k); d < at {
			best, at = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "one of " + strings.Join(known, ", ")
}

// distance is the number of letters to add, drop or change to get from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
