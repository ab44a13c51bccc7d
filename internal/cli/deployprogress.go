package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/hastack/hastack/internal/clock"
)

const barWidth = 20

// deployProgress is a bar a part on a terminal, and a plain line a part where
// there is none. It is safe for concurrent use.
type deployProgress struct {
	out io.Writer
	tty bool

	mu      sync.Mutex
	part    string
	servers int
	done    map[string]bool
	doing   map[string]string
	begun   time.Time
}

func newDeployProgress(out io.Writer) *deployProgress {
	f, ok := out.(*os.File)
	return &deployProgress{out: out, tty: ok && term.IsTerminal(int(f.Fd()))}
}

// Begin starts the line of a part.
func (p *deployProgress) Begin(part string, servers int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.part, p.servers, p.begun = part, servers, clock.System.Now()
	p.done, p.doing = map[string]bool{}, map[string]string{}
	p.draw()
}

// Server says what a server is doing.
func (p *deployProgress) Server(name, doing string, done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if done {
		p.done[name] = true
		delete(p.doing, name)
	} else {
		p.doing[name] = doing
	}
	p.draw()
}

// End closes the line with what was done.
func (p *deployProgress) End(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.part == "" {
		return
	}
	p.clear()
	servers := fmt.Sprintf("%d servers", p.servers)
	if p.servers == 1 {
		servers = "1 server"
	}
	_, _ = fmt.Fprintf(p.out, "%-14s%-12s%-60s %6.1f s\n", p.part, servers, what, p.seconds())
	p.part = ""
}

// Fail leaves the line as it is, for the error that follows.
func (p *deployProgress) Fail() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.part == "" {
		return
	}
	p.clear()
	_, _ = fmt.Fprintf(p.out, "%-14s%-72s %6.1f s\n", p.part, "failed", p.seconds())
	p.part = ""
}

func (p *deployProgress) seconds() float64 { return clock.System.Now().Sub(p.begun).Seconds() }

func (p *deployProgress) clear() {
	if p.tty {
		_, _ = fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func (p *deployProgress) draw() {
	if !p.tty {
		return
	}
	full := 0
	if p.servers > 0 {
		full = min(barWidth, barWidth*len(p.done)/p.servers)
	}
	var doing []string
	for name, what := range p.doing {
		doing = append(doing, name+" "+what)
	}
	slices.Sort(doing)
	text := strings.Join(doing, ", ")
	if len(text) > 40 {
		text = text[:37] + "..."
	}
	// Progress is a courtesy: a closed terminal must not fail the work.
	_, _ = fmt.Fprintf(p.out, "\r\x1b[K%-14s%s%s %d/%d %s", p.part, strings.Repeat("█", full), strings.Repeat("░", barWidth-full), len(p.done), p.servers, text)
}
