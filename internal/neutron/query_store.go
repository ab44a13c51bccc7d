package neutron

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

type columnKind int

const (
	colText columnKind = iota
	colBool
	colInt
	colTime
	colSpecial
)

// A column says how an attribute of the API is filtered and sorted in SQL.
// Only columns that are never NULL can be sorted by: a page is cut by comparing.
type column struct {
	name  string
	kind  columnKind
	null  bool
	apply func(q *bun.SelectQuery, values []string) (*bun.SelectQuery, error)
}

type columns map[string]column

func standardColumns(extra columns) columns {
	c := columns{
		"id":              {name: "id"},
		"project_id":      {name: "project_id"},
		"tenant_id":       {name: "project_id"},
		"name":            {name: "name"},
		"description":     {name: "description"},
		"revision_number": {name: "revision_number", kind: colInt},
		"created_at":      {name: "created_at", kind: colTime},
		"updated_at":      {name: "updated_at", kind: colTime},
		"changed-since":   {kind: colSpecial, apply: changedSince},
	}
	maps.Copy(c, extra)
	return c
}

func columnsOf(kind Kind) columns {
	switch kind {
	case Networks:
		return networkColumns()
	case Subnets:
		return subnetColumns()
	case Ports:
		return portColumns()
	case Routers:
		return routerColumns()
	case FloatingIPs:
		return floatingIPColumns()
	case SecurityGroups:
		return securityGroupColumns()
	case SecurityGroupRules:
		return securityGroupRuleColumns()
	case RBACPolicies:
		return rbacColumns()
	case Agents:
		return agentColumns()
	}
	return columns{}
}

func changedSince(q *bun.SelectQuery, values []string) (*bun.SelectQuery, error) {
	for _, v := range values {
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			if t, err = time.Parse("2006-01-02T15:04:05", v); err != nil {
				return nil, badRequest(codeInvalid, "The changed-since value %s is not a timestamp", v)
			}
		}
		q = q.Where("updated_at >= ?", t.UTC())
	}
	return q, nil
}

// selection applies filters, order and page to a select of table.
func (s *Service) selection(ctx context.Context, idb bun.IDB, q *bun.SelectQuery, kind Kind, query Query) (*bun.SelectQuery, error) {
	cols := columnsOf(kind)
	var err error
	for name, values := range query.Filters {
		if q, err = applyFilter(q, cols, kind, name, values); err != nil {
			return nil, err
		}
	}
	sorts, err := sortColumns(cols, query)
	if err != nil {
		return nil, err
	}
	if query.Marker != "" {
		if q, err = s.afterMarker(ctx, idb, q, kind, sorts, query.Marker); err != nil {
			return nil, err
		}
	}
	for _, k := range sorts {
		q = q.OrderExpr("? ?", bun.Ident(k.Key), bun.Safe(direction(k.Desc)))
	}
	if query.Limit > 0 {
		q = q.Limit(int64(query.Limit))
	}
	return q, nil
}

func direction(desc bool) string {
	if desc {
		return "DESC"
	}
	return "ASC"
}

func applyFilter(q *bun.SelectQuery, cols columns, kind Kind, name string, values []string) (*bun.SelectQuery, error) {
	if slices.Contains(tagFilters, name) && kind.tagged() {
		return filterTags(q, name, values), nil
	}
	col, ok := cols[name]
	if !ok {
		return nil, badRequest(codeBadRequest, "['%s'] is invalid attribute for filtering", name)
	}
	switch col.kind {
	case colSpecial:
		return col.apply(q, values)
	case colBool:
		bools := make([]bool, 0, len(values))
		for _, v := range values {
			b, err := parseBool(v)
			if err != nil {
				return nil, badRequest(codeInvalid, "Invalid input for operation: '%s' is not a valid boolean value.", v)
			}
			bools = append(bools, b)
		}
		return q.Where("? IN (?)", bun.Ident(col.name), bun.List(bools)), nil
	case colInt:
		ints := make([]int64, 0, len(values))
		for _, v := range values {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return nil, badRequest(codeInvalid, "Invalid input for operation: '%s' is not an integer.", v)
			}
			ints = append(ints, n)
		}
		return q.Where("? IN (?)", bun.Ident(col.name), bun.List(ints)), nil
	}
	if col.null && slices.Contains(values, "") {
		return q.Where("(? IS NULL OR ? IN (?))", bun.Ident(col.name), bun.Ident(col.name), bun.List(values)), nil
	}
	return q.Where("? IN (?)", bun.Ident(col.name), bun.List(values)), nil
}

func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true", "1", "yes", "on", "t":
		return true, nil
	case "false", "0", "no", "off", "f":
		return false, nil
	}
	return false, fmt.Errorf("%q is no boolean", v)
}

func sortColumns(cols columns, query Query) ([]Sort, error) {
	sorts := make([]Sort, 0, len(query.Sorts)+1)
	hasID := false
	for _, k := range query.Sorts {
		col, ok := cols[k.Key]
		if !ok || col.null || col.kind == colSpecial {
			return nil, badRequest(codeBadRequest, "'%s' is not a valid attribute for sort", k.Key)
		}
		hasID = hasID || col.name == "id"
		sorts = append(sorts, Sort{Key: col.name, Desc: k.Desc != query.Reverse})
	}
	if !hasID {
		sorts = append(sorts, Sort{Key: "id", Desc: query.Reverse})
	}
	return sorts, nil
}

// afterMarker keeps the rows that come after the marker in the order given:
// (a > x) OR (a = x AND b > y) ..., which an index on (a, id) answers.
func (s *Service) afterMarker(ctx context.Context, idb bun.IDB, q *bun.SelectQuery, kind Kind, sorts []Sort, marker string) (*bun.SelectQuery, error) {
	sel := idb.NewSelect().Table(kind.table()).Where("id = ?", marker)
	for _, k := range sorts {
		sel = sel.Column(k.Key)
	}
	values := make([]any, len(sorts))
	ptrs := make([]any, len(sorts))
	for i := range values {
		ptrs[i] = &values[i]
	}
	rows, err := sel.Rows(ctx)
	if err != nil {
		return nil, fmt.Errorf("read marker %s: %w", marker, err)
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		return nil, badRequest(codeInvalid, "Invalid input for operation: marker %s could not be found.", marker)
	}
	if err := rows.Scan(ptrs...); err != nil {
		return nil, fmt.Errorf("read marker %s: %w", marker, err)
	}
	for i, v := range values {
		if b, ok := v.([]byte); ok {
			values[i] = string(b)
		}
	}
	return q.WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery {
		for i, k := range sorts {
			q = q.WhereGroup(" OR ", func(q *bun.SelectQuery) *bun.SelectQuery {
				for j := range i {
					q = q.Where("? = ?", bun.Ident(sorts[j].Key), values[j])
				}
				op := bun.Safe(">")
				if k.Desc {
					op = bun.Safe("<")
				}
				return q.Where("? ? ?", bun.Ident(k.Key), op, values[i])
			})
		}
		return q
	}), rows.Err()
}

func (k Kind) table() string { return strings.ReplaceAll(string(k), "-", "_") }

// filterTags implements the four tag filters. Tags are stored between line
// feeds, which no tag may contain, so that a whole tag is found as a substring.
func filterTags(q *bun.SelectQuery, name string, values []string) *bun.SelectQuery {
	var tags []string
	for _, v := range values {
		tags = append(tags, strings.Split(v, ",")...)
	}
	var conds []string
	var args []any
	for _, t := range tags {
		conds = append(conds, "INSTR(tags, ?) > 0")
		args = append(args, "\n"+t+"\n")
	}
	joiner := " AND "
	if strings.HasSuffix(name, "-any") {
		joiner = " OR "
	}
	expr := "(" + strings.Join(conds, joiner) + ")"
	if strings.HasPrefix(name, "not-") {
		expr = "NOT " + expr
	}
	return q.Where(expr, args...)
}

// visible narrows a select to what the caller's project owns; administrators
// see everything.
func visible(q *bun.SelectQuery, c Caller) *bun.SelectQuery {
	if c.Admin {
		return q
	}
	return q.Where("project_id = ?", c.ProjectID)
}
