package neutronapi

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/neutron"
)

// A listing is what a request asks of a list.
type listing struct {
	r      *httpapi.Request
	query  neutron.Query
	fields []string
}

const (
	maxFilterValues = 500
	maxSortKeys     = 8
)

// listing reads filters, sorting, paging and fields from the URL.
func (a *API) listing(r *httpapi.Request, kind neutron.Kind) (*listing, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("The query string could not be read")
	}
	l := &listing{r: r, query: neutron.Query{Filters: map[string][]string{}}}
	filterable := neutron.Filterable(kind)
	for name, values := range q {
		switch name {
		case "fields":
			l.fields = values
		case "limit":
			n, err := strconv.Atoi(values[0])
			if err != nil || n < 0 {
				return nil, badRequest("Limit must be an integer 0 or greater and not '%s'", clip(values[0]))
			}
			l.query.Limit = n
		case "marker":
			l.query.Marker = values[0]
		case "page_reverse":
			l.query.Reverse = strings.EqualFold(values[0], "true")
		case "sort_key", "sort_dir":
		default:
			if !filterable(name) {
				return nil, badRequest("['%s'] is invalid attribute for filtering", clip(name))
			}
			if len(values) > maxFilterValues {
				return nil, badRequest("Too many values for filter '%s'", name)
			}
			l.query.Filters[name] = values
		}
	}
	return l, l.readSorts(q["sort_key"], q["sort_dir"])
}

func (l *listing) readSorts(keys, dirs []string) error {
	if len(keys) > maxSortKeys {
		return badRequest("More than %d sort keys", maxSortKeys)
	}
	if len(dirs) > len(keys) || len(dirs) > 1 && len(dirs) != len(keys) {
		return badRequest("The number of sort_keys and sort_dirs must be same")
	}
	for i, k := range keys {
		dir := "asc"
		if len(dirs) == 1 {
			dir = dirs[0]
		} else if i < len(dirs) {
			dir = dirs[i]
		}
		if dir != "asc" && dir != "desc" {
			return badRequest("'%s' is not a valid sort direction, it must be 'asc' or 'desc'", clip(dir))
		}
		l.query.Sorts = append(l.query.Sorts, neutron.Sort{Key: k, Desc: dir == "desc"})
	}
	return nil
}

// page makes the answer: the views under the collection's name, cut to the
// fields asked for, with links where a limit was given.
func page[T any](l *listing, path, collection string, items []T, id func(T) string, view func(T) any) (any, error) {
	if l.query.Reverse {
		slices.Reverse(items)
	}
	views := make([]any, 0, len(items))
	for _, it := range items {
		v, err := selectFields(view(it), l.fields)
		if err != nil {
			return nil, err
		}
		views = append(views, v)
	}
	out := map[string]any{collection: views}
	if l.query.Limit == 0 {
		return out, nil
	}
	var links []link
	full := len(items) == l.query.Limit
	if len(items) > 0 && (full || l.query.Reverse) {
		links = append(links, l.link(path, "next", id(items[len(items)-1]), false))
	}
	if len(items) > 0 && (l.query.Marker != "" && !l.query.Reverse || l.query.Reverse && full) {
		links = append(links, l.link(path, "previous", id(items[0]), true))
	}
	if links != nil {
		out[collection+"_links"] = links
	}
	return out, nil
}

type link struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

func (l *listing) link(path, rel, marker string, reverse bool) link {
	q := l.r.URL.Query()
	q.Set("marker", marker)
	q.Del("page_reverse")
	if reverse {
		q.Set("page_reverse", "True")
	}
	return link{Rel: rel, Href: l.r.PublicURL() + path + "?" + q.Encode()}
}

// selectFields cuts a view to the named attributes; none means all.
func selectFields(view any, fields []string) (any, error) {
	if len(fields) == 0 {
		return view, nil
	}
	b, err := json.Marshal(view)
	if err != nil {
		return nil, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	out := make(map[string]json.RawMessage, len(fields))
	for _, f := range fields {
		if v, ok := all[f]; ok {
			out[f] = v
		}
	}
	return out, nil
}

// one makes the answer for a single resource.
func one(r *httpapi.Request, name string, view any) (any, error) {
	v, err := selectFields(view, r.URL.Query()["fields"])
	if err != nil {
		return nil, err
	}
	return map[string]any{name: v}, nil
}

// created is the answer to a create: one resource, or a list for a bulk.
func created(bulk bool, one, many string, views []any) any {
	if bulk {
		return map[string]any{many: views}
	}
	return map[string]any{one: views[0]}
}
