package novaapi

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// A writer appends JSON. Lists of servers are the hottest answers of the
// service and have different fields at each microversion, so they are written
// field by field instead of by reflection over a struct for each version.
type writer struct {
	b     []byte
	first bool // no comma before the next value
}

func (w *writer) comma() {
	if !w.first {
		w.b = append(w.b, ',')
	}
	w.first = false
}

func (w *writer) open(c byte) { w.b = append(w.b, c); w.first = true }

func (w *writer) close(c byte) { w.b = append(w.b, c); w.first = false }

// key writes a field's name; the value follows without a comma.
func (w *writer) key(k string) {
	w.comma()
	w.b = append(w.b, '"')
	w.b = append(w.b, k...)
	w.b = append(w.b, '"', ':')
}

// obj and arr write a field that is an object or a list; k "" is an item of a
// list. They must be closed with end and endArr.
func (w *writer) obj(k string) { w.start(k); w.open('{') }
func (w *writer) arr(k string) { w.start(k); w.open('[') }
func (w *writer) end()         { w.close('}') }
func (w *writer) endArr()      { w.close(']') }

func (w *writer) start(k string) {
	if k == "" {
		w.comma()
		return
	}
	w.key(k)
}

func (w *writer) str(k, v string) { w.start(k); w.b = appendString(w.b, v) }

// orNull is str with null for "".
func (w *writer) orNull(k, v string) {
	if v == "" {
		w.null(k)
		return
	}
	w.str(k, v)
}

func (w *writer) null(k string)            { w.start(k); w.b = append(w.b, "null"...) }
func (w *writer) num(k string, v int)      { w.start(k); w.b = strconv.AppendInt(w.b, int64(v), 10) }
func (w *writer) boolean(k string, v bool) { w.start(k); w.b = strconv.AppendBool(w.b, v) }

// time writes a time by layout, null for none.
func (w *writer) time(k string, t time.Time, layout string) {
	if t.IsZero() {
		w.null(k)
		return
	}
	w.start(k)
	w.b = append(w.b, '"')
	w.b = t.AppendFormat(w.b, layout)
	w.b = append(w.b, '"')
}

func (w *writer) texts(k string, m map[string]string) {
	w.obj(k)
	if len(m) > 0 {
		for _, name := range sortedKeys(m) {
			w.comma()
			w.b = appendString(w.b, name)
			w.b = append(w.b, ':')
			w.b = appendString(w.b, m[name])
		}
	}
	w.end()
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			q, err := json.Marshal(s)
			if err != nil {
				return append(b, `""`...)
			}
			return append(b, q...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
