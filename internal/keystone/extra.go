package keystone

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"maps"
)

// Extra holds the attributes of a resource that Keystone keeps without knowing
// them. A null in an update removes the attribute.
type Extra map[string]json.RawMessage

// Value stores the attributes as one JSON object.
func (e Extra) Value() (driver.Value, error) {
	if len(e) == 0 {
		return "{}", nil
	}
	b, err := json.Marshal(map[string]json.RawMessage(e))
	return string(b), err
}

// Scan reads what Value wrote.
func (e *Extra) Scan(src any) error {
	var b []byte
	switch v := src.(type) {
	case []byte:
		b = v
	case string:
		b = []byte(v)
	case nil:
		return nil
	default:
		return fmt.Errorf("extra attributes are a %T in the database", src)
	}
	if string(b) == "{}" {
		*e = nil
		return nil
	}
	return json.Unmarshal(b, (*map[string]json.RawMessage)(e))
}

// merge applies an update and tells whether anything was in it.
func (e *Extra) merge(update Extra) bool {
	if len(update) == 0 {
		return false
	}
	out := make(Extra, len(*e)+len(update))
	maps.Copy(out, *e)
	for k, v := range update {
		if string(v) == "null" {
			delete(out, k)
			continue
		}
		out[k] = v
	}
	*e = out
	return true
}
