package placementapi

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/placement"
)

// candidateBuffers are used again: a thousand candidates are 300 kB.
type candidateBuffers struct{ pool sync.Pool }

func (b *candidateBuffers) get() *[]byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return buf
	}
	return new([]byte)
}

// listCandidates writes its answer by hand: all but the uuids and figures of
// it is the same from one candidate to the next.
func (a *API) listCandidates(w http.ResponseWriter, r *httpapi.Request) error {
	if err := r.Enforce(nil); err != nil {
		return err
	}
	if err := since(r, 10); err != nil {
		return err
	}
	q, err := readCandidateQuery(r)
	if err != nil {
		return err
	}
	found, err := a.placement.Candidates(r.Context(), q)
	if err != nil {
		return err
	}
	buf := a.buffers.get()
	defer a.buffers.pool.Put(buf)
	cw := candidateWriter{
		keyed: version(r, 12), traits: version(r, 17), allClasses: version(r, 27), tree: version(r, 29),
		mappings: version(r, 34), asked: q.Resources, classes: classesOf(q), buf: (*buf)[:0],
	}
	cw.write(found)
	*buf = cw.buf
	maps.Copy(w.Header(), a.fresh(r, 0, nil).Header)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(cw.buf)))
	_, _ = w.Write(cw.buf) // a client that went away cannot be told so
	return nil
}

// classesOf are all classes that a query asks for.
func classesOf(q *placement.Query) []string {
	list := slices.Collect(maps.Keys(q.Resources))
	for i := range q.Groups {
		list = slices.AppendSeq(list, maps.Keys(q.Groups[i].Resources))
	}
	return list
}

type candidateWriter struct {
	buf                                       []byte
	keyed, traits, allClasses, tree, mappings bool
	asked                                     map[string]int64 // of the query without its groups
	classes                                   []string         // of the whole query
	same                                      []byte           // resources of a candidate of one provider
}

func (w *candidateWriter) str(s string)  { w.buf = append(w.buf, s...) }
func (w *candidateWriter) num(n int64)   { w.buf = strconv.AppendInt(w.buf, n, 10) }
func (w *candidateWriter) name(s string) { w.buf = append(append(append(w.buf, '"'), s...), '"') }

// comma separates all but the first.
func (w *candidateWriter) comma(i int) {
	if i > 0 {
		w.buf = append(w.buf, ',')
	}
}

// write needs no escaping: names are uuids, classes and traits.
func (w *candidateWriter) write(c *placement.Candidates) {
	w.same = w.amounts(nil, w.asked)
	w.buf = slices.Grow(w.buf, 1024+(150+len(w.same))*len(c.List)+240*len(c.Providers))
	w.str(`{"allocation_requests":[`)
	for i := range c.List {
		w.comma(i)
		w.request(&c.List[i])
	}
	w.str(`],"provider_summaries":{`)
	for i, p := range c.Providers {
		w.comma(i)
		w.name(p.UUID)
		w.str(`:`)
		w.summary(p)
	}
	w.str(`}}`)
}

func (w *candidateWriter) amounts(buf []byte, m map[string]int64) []byte {
	buf = append(buf, '{')
	for i, class := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(append(append(buf, '"'), class...), `":`...)
		buf = strconv.AppendInt(buf, m[class], 10)
	}
	return append(buf, '}')
}

func (w *candidateWriter) request(c *placement.Candidate) {
	open, end := `{"allocations":{`, `}`
	if !w.keyed {
		open, end = `{"allocations":[`, `]`
	}
	w.str(open)
	if c.One != nil {
		w.part(0, c.One.UUID, w.same)
	}
	for i, part := range c.Parts {
		w.part(i, part.Provider.UUID, w.amounts(nil, part.Resources))
	}
	w.str(end)
	if w.mappings {
		w.str(`,"mappings":{`)
		w.mapping(c)
		w.str(`}`)
	}
	w.str(`}`)
}

// mapping tells which providers serve which group.
func (w *candidateWriter) mapping(c *placement.Candidate) {
	if c.Groups != nil {
		for i, suffix := range slices.Sorted(maps.Keys(c.Groups)) {
			w.comma(i)
			w.name(suffix)
			w.str(`:[`)
			for j, p := range c.Groups[suffix] {
				w.comma(j)
				w.name(p.UUID)
			}
			w.str(`]`)
		}
		return
	}
	w.str(`"":[`)
	if c.One != nil {
		w.name(c.One.UUID)
	}
	for i, part := range c.Parts {
		w.comma(i)
		w.name(part.Provider.UUID)
	}
	w.str(`]`)
}

func (w *candidateWriter) part(i int, uuid string, resources []byte) {
	w.comma(i)
	if w.keyed {
		w.name(uuid)
		w.str(`:{"resources":`)
	} else {
		w.str(`{"resource_provider":{"uuid":`)
		w.name(uuid)
		w.str(`},"resources":`)
	}
	w.buf = append(w.buf, resources...)
	w.str(`}`)
}

func (w *candidateWriter) summary(p *placement.Provider) {
	w.str(`{"resources":{`)
	n := 0
	for i := range p.Inventories {
		inv := &p.Inventories[i]
		if !w.allClasses && !slices.Contains(w.classes, inv.Class) {
			continue
		}
		w.comma(n)
		n++
		w.name(inv.Class)
		w.str(`:{"capacity":`)
		w.num(inv.Capacity)
		w.str(`,"used":`)
		w.num(inv.Used)
		w.str(`}`)
	}
	w.str(`}`)
	if w.traits {
		w.str(`,"traits":[`)
		for i, t := range p.Traits {
			w.comma(i)
			w.name(t)
		}
		w.str(`]`)
	}
	if w.tree {
		w.str(`,"parent_provider_uuid":`)
		if p.ParentUUID == "" {
			w.str(`null`)
		} else {
			w.name(p.ParentUUID)
		}
		w.str(`,"root_provider_uuid":`)
		w.name(p.RootUUID)
	}
	w.str(`}`)
}
