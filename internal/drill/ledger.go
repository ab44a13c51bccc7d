package drill

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
)

// What became of a write, as the ledger says it.
const (
	stateIntent  = "intent"  // about to be sent
	stateAcked   = "acked"   // the cloud said yes: it must be there, once
	stateRefused = "refused" // the cloud said no: it must not be there
	stateUnknown = "unknown" // no answer: it may be there once
	stateUnsent  = "unsent"  // no byte reached the cloud: it must not be there
	stateGone    = "gone"    // deleted by the drill's own cleaning
)

// A Ledger is the append-only file of what the cloud was asked to write and
// what it answered. It is kept outside the cloud, and each line is on the disk
// before the drill goes on, so that it is the truth that the cloud is held
// against. It is safe for concurrent use.
type Ledger struct {
	mu      sync.Mutex // guards all below
	file    *os.File
	entries map[string]string // name to state
	order   []string
}

// entry is one line of the file.
type entry struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

// OpenLedger opens the file, or makes it, and reads what it holds. A last line
// that a crash cut off is dropped: its write has no state that was told.
func OpenLedger(path string) (*Ledger, error) {
	l := &Ledger{entries: map[string]string{}}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	var end int64
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, errors.Join(fmt.Errorf("ledger %s, byte %d: %w", path, end, err), f.Close())
		}
		l.note(e)
		end += int64(len(line))
	}
	if err := f.Truncate(end); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.Seek(end, 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l.file = f
	return l, nil
}

func (l *Ledger) note(e entry) {
	if _, ok := l.entries[e.Name]; !ok {
		l.order = append(l.order, e.Name)
	}
	l.entries[e.Name] = e.State
}

// record appends a line and returns once it is on the disk.
func (l *Ledger) record(name, state string) error {
	line, err := json.Marshal(entry{name, state})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	l.note(entry{name, state})
	return nil
}

// names are the writes that have one of the states, in order of intent.
func (l *Ledger) names(states ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, n := range l.order {
		for _, s := range states {
			if l.entries[n] == s {
				out = append(out, n)
			}
		}
	}
	return out
}

// count is how many writes have the state.
func (l *Ledger) count(state string) int { return len(l.names(state)) }

// Close ends the use of the file.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

// A Verdict is what reading back the writes showed.
type Verdict struct {
	Acked   int `json:"acked"`
	Unknown int `json:"unknown"`
	// Lost were acked and are not there; Doubled were sent once and are there
	// more than once; Denied were refused, or never sent, and are there.
	Lost    []string `json:"lost,omitempty"`
	Doubled []string `json:"doubled,omitempty"`
	Denied  []string `json:"denied,omitempty"`
}

// Bad tells whether the cloud broke its word.
func (v *Verdict) Bad() bool { return len(v.Lost)+len(v.Doubled)+len(v.Denied) > 0 }

// judge holds what is there (how often each name was found) against the ledger.
// Only writes of which mine tells are looked at.
func (l *Ledger) judge(found map[string]int, mine func(name string) bool) *Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := &Verdict{}
	for _, name := range l.order {
		if !mine(name) {
			continue
		}
		state, n := l.entries[name], found[name]
		switch state {
		case stateAcked:
			v.Acked++
			if n == 0 {
				v.Lost = append(v.Lost, name)
			}
		case stateUnknown, stateIntent:
			v.Unknown++
		case stateRefused, stateUnsent:
			if n > 0 {
				v.Denied = append(v.Denied, name)
			}
		}
		if n > 1 {
			v.Doubled = append(v.Doubled, name)
		}
	}
	return v
}
