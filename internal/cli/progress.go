package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/hastack/hastack/internal/clock"
)

// progress shows one line a step: its name, what is happening, how long it
// took. On a terminal the line of the running step is redrawn; in a pipe each
// step is one plain line when it ends.
type progress struct {
	out   io.Writer
	tty   bool
	step  string
	last  string
	begun time.Time
}

func newProgress(out io.Writer) *progress {
	f, ok := out.(*os.File)
	return &progress{out: out, tty: ok && term.IsTerminal(int(f.Fd()))}
}

// begin ends the running step, if any, and starts another.
func (p *progress) begin(step, detail string) {
	if p.step == step {
		p.detail(detail)
		return
	}
	p.end("")
	p.step, p.begun, p.last = step, clock.System.Now(), ""
	p.detail(detail)
}

// detail says what the running step is doing.
func (p *progress) detail(s string) {
	if s != "" {
		p.last = s
	}
	if p.tty {
		p.line("\r\x1b[K", p.last, "…")
	}
}

// end closes the running step; what replaces the last detail if not empty.
func (p *progress) end(what string) {
	if p.step == "" {
		return
	}
	if what != "" {
		p.last = what
	}
	start := ""
	if p.tty {
		start = "\r\x1b[K"
	}
	p.line(start, p.last, "\n")
	p.step = ""
}

func (p *progress) line(before, what, after string) {
	took := clock.System.Now().Sub(p.begun).Seconds()
	// Progress is a courtesy: a closed terminal must not fail the work.
	_, _ = fmt.Fprintf(p.out, "%s%-11s%-50s %6.1f s%s", before, p.step, what, took, after)
}
