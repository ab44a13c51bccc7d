package bus

import "sync"

// maxKeptReplies bounds the bytes of replies that a window keeps for callers
// that ask again.
const maxKeptReplies = 1 << 20

// A window remembers the last message ids of one server, with what became of
// them, so that a copy is answered and not run again.
type window struct {
	mu    sync.Mutex
	byID  map[string]*seen
	ring  []string // ids in order of arrival; overwritten from next
	next  int
	bytes int // of kept replies
}

type seen struct {
	done chan struct{} // closed when out is set
	out  outcome
}

func newWindow(size int) *window {
	return &window{byID: make(map[string]*seen, size), ring: make([]string, size)}
}

// begin enters id. first is false if the id is known: e tells what became of it.
func (w *window) begin(id string) (e *seen, first bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e, ok := w.byID[id]; ok {
		return e, false
	}
	if old := w.ring[w.next]; old != "" {
		w.forget(old)
	}
	w.ring[w.next] = id
	w.next = (w.next + 1) % len(w.ring)
	e = &seen{done: make(chan struct{})}
	w.byID[id] = e
	return e, true
}

// finish records the outcome. A cast that failed is forgotten: its next
// delivery has to run.
func (w *window) finish(id string, e *seen, out outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.out = out
	close(e.done)
	if w.byID[id] != e {
		return // pushed out while it ran
	}
	if out.err != nil {
		delete(w.byID, id)
		return
	}
	w.bytes += len(out.body)
	for i := 0; w.bytes > maxKeptReplies && i < len(w.ring); i++ {
		w.forget(w.ring[(w.next+i)%len(w.ring)])
	}
}

// forget needs mu.
func (w *window) forget(id string) {
	e, ok := w.byID[id]
	if !ok {
		return
	}
	select {
	case <-e.done:
		w.bytes -= len(e.out.body)
	default: // still running: its bytes were never counted
	}
	delete(w.byID, id)
}
