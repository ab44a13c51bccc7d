package httpapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hastack/hastack/internal/fault"
)

// A Sort is one key of an ordering.
type Sort struct {
	Key  string
	Desc bool
}

// A Page is the part of a list that a request asks for.
type Page struct {
	Limit  int    // 0 means no limit was asked and the API has no default
	Marker string // id of the last item of the page before, "" for the first
	Sort   []Sort
}

// PageConfig says how a list may be paged.
type PageConfig struct {
	DefaultLimit int      // when the request names none
	MaxLimit     int      // larger limits are cut to it; 0 means no maximum
	SortKeys     []string // what may be sorted by; nil refuses every sort_key
	Default      []Sort
}

// Page reads limit, marker, and sort_key/sort_dir or sort from the query.
func (r *Request) Page(cfg PageConfig) (Page, error) {
	q := r.URL.Query()
	p := Page{Limit: cfg.DefaultLimit, Marker: q.Get("marker")}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return p, fault.New(fault.BadRequest, "limit %q is not a whole number of at least 0", s)
		}
		p.Limit = n
	}
	if cfg.MaxLimit > 0 && (p.Limit > cfg.MaxLimit || p.Limit == 0 && !q.Has("limit")) {
		p.Limit = cfg.MaxLimit
	}
	sorts, err := readSorts(q, cfg)
	if err != nil {
		return p, err
	}
	p.Sort = sorts
	return p, nil
}

func readSorts(q url.Values, cfg PageConfig) ([]Sort, error) {
	keys, dirs := q["sort_key"], q["sort_dir"]
	if s := q.Get("sort"); s != "" {
		for part := range strings.SplitSeq(s, ",") {
			key, dir, _ := strings.Cut(part, ":")
			keys = append(keys, key)
			dirs = append(dirs, dir)
		}
	}
	if len(keys) == 0 && len(dirs) == 0 {
		return cfg.Default, nil
	}
	if len(keys) == 0 {
		for _, s := range cfg.Default {
			keys = append(keys, s.Key)
		}
	}
	if len(keys) > 8 {
		return nil, fault.New(fault.BadRequest, "more than 8 sort keys")
	}
	var out []Sort
	for i, key := range keys {
		if !slices.Contains(cfg.SortKeys, key) {
			return nil, fault.New(fault.BadRequest, "sort key %q is not valid", key)
		}
		dir := ""
		if i < len(dirs) {
			dir = dirs[i]
		} else if len(dirs) > 0 {
			dir = dirs[len(dirs)-1]
		}
		switch dir {
		case "", "asc", "desc":
			out = append(out, Sort{Key: key, Desc: dir == "desc" || dir == "" && defaultDesc(cfg, key)})
		default:
			return nil, fault.New(fault.BadRequest, "sort direction %q is neither asc nor desc", dir)
		}
	}
	return out, nil
}

func defaultDesc(cfg PageConfig, key string) bool {
	for _, s := range cfg.Default {
		if s.Key == key {
			return s.Desc
		}
	}
	return false
}

// NextLink is the link to the page behind marker: path on the public URL with
// the request's own query.
func (r *Request) NextLink(path, marker string) string {
	q := r.URL.Query()
	q.Set("marker", marker)
	return r.PublicURL() + path + "?" + q.Encode()
}
