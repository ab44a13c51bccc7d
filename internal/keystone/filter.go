package keystone

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hastack/hastack/internal/fault"
)

// A Condition limits a list: Field must be one that the list's resource can be
// filtered by, Op one of "", contains, startswith, endswith and the same with
// an i in front for "whatever the case".
type Condition struct{ Field, Op, Value string }

// A Filter says which part of a list is wanted. Lists are in order of id;
// Limit 0 means all, Marker is the id of the last item already seen.
type Filter struct {
	Conditions []Condition
	Limit      int
	Marker     string
}

// By makes a filter of one exact condition.
func By(field, value string) Filter {
	return Filter{Conditions: []Condition{{Field: field, Value: value}}}
}

// With adds an exact condition.
func (f Filter) With(field, value string) Filter {
	f.Conditions = append(slices.Clip(f.Conditions), Condition{Field: field, Value: value})
	return f
}

// columnKind says how the values of a column compare.
type columnKind int

const (
	textColumn columnKind = iota
	boolColumn
	timeColumn
)

// columns are the fields that a resource can be filtered by; the names are
// those of the database.
type columns map[string]columnKind

var (
	domainColumns   = columns{"name": textColumn, "enabled": boolColumn}
	projectColumns  = columns{"name": textColumn, "enabled": boolColumn, "domain_id": textColumn, "parent_id": textColumn}
	userColumns     = columns{"name": textColumn, "enabled": boolColumn, "domain_id": textColumn, "password_expires_at": timeColumn}
	groupColumns    = columns{"name": textColumn, "domain_id": textColumn}
	roleColumns     = columns{"name": textColumn, "domain_id": textColumn}
	regionColumns   = columns{"parent_region_id": textColumn}
	serviceColumns  = columns{"name": textColumn, "type": textColumn}
	endpointColumns = columns{"service_id": textColumn, "region_id": textColumn, "interface": textColumn, "enabled": boolColumn}
	appCredColumns  = columns{"name": textColumn, "user_id": textColumn}
	credColumns     = columns{"user_id": textColumn, "type": textColumn, "project_id": textColumn}
)

// clause turns a condition into SQL. A field that the resource does not have
// is ignored, as Keystone ignores unknown query parameters.
func (c columns) clause(cond Condition) (query string, arg any, err error) {
	kind, ok := c[cond.Field]
	if !ok {
		return "", nil, nil
	}
	switch {
	case kind == boolColumn:
		// A bare "?enabled" means true; everything but false and 0 does too,
		// as in Keystone's query strings.
		v := strings.ToLower(cond.Value)
		return cond.Field + " = ?", v != "false" && v != "0", nil
	case kind == timeColumn:
		return timeClause(cond)
	case cond.Op == "":
		return cond.Field + " = ?", cond.Value, nil
	}
	op, insensitive := strings.CutPrefix(cond.Op, "i")
	value, column := cond.Value, cond.Field
	if insensitive {
		column, value = "LOWER("+column+")", strings.ToLower(value)
	}
	if value == "" {
		return "", nil, nil
	}
	// Not LIKE: it looks at the case on one database and not on the other.
	switch n := strconv.Itoa(utf8.RuneCountInString(value)); op {
	case "contains":
		return "INSTR(" + column + ", ?) > 0", value, nil
	case "startswith":
		return "SUBSTR(" + column + ", 1, " + n + ") = ?", value, nil
	case "endswith":
		return "SUBSTR(" + column + ", -" + n + ") = ?", value, nil
	}
	return "", nil, fault.New(fault.BadRequest, "filter %s__%s is not supported", cond.Field, cond.Op)
}

// timeClause reads "lt:2026-01-02T03:04:05Z", the form of password_expires_at.
func timeClause(cond Condition) (string, any, error) {
	op, value, ok := strings.Cut(cond.Value, ":")
	sql := map[string]string{"lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "eq": "=", "neq": "<>"}[op]
	if !ok || sql == "" {
		return "", nil, fault.New(fault.BadRequest, "filter %s is not of the form operator:time", cond.Field)
	}
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return "", nil, fault.New(fault.BadRequest, "filter %s: %q is not a time like 2026-01-02T03:04:05Z", cond.Field, value)
	}
	return cond.Field + " " + sql + " ?", t.UTC(), nil
}
