package glanceapi

import (
	"encoding/csv"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/glance"
	"github.com/hastack/hastack/internal/httpapi"
)

// Page lengths as Glance has them by default.
const (
	defaultLimit = 25
	maxLimit     = 1000
)

func (a *API) listImages(r *httpapi.Request) (any, error) {
	v := viewer(r)
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	f, err := readFilter(r.URL.Query())
	if err != nil {
		return nil, err
	}
	p, err := r.Page(httpapi.PageConfig{DefaultLimit: defaultLimit, MaxLimit: maxLimit,
		SortKeys: glance.SortKeys(), Default: []httpapi.Sort{{Key: "created_at", Desc: true}}})
	if err != nil {
		return nil, err
	}
	page := glance.ImagePage{Limit: p.Limit, Marker: p.Marker}
	for _, s := range p.Sort {
		page.Sort = append(page.Sort, glance.ImageSort{Key: s.Key, Desc: s.Desc})
	}
	list, more, err := a.glance.Images(r.Context(), v, f, page)
	if err != nil {
		return nil, err
	}
	return appendList(r.URL.Query(), list, more), nil
}

// appendList writes a page with its links, which are relative in this API.
func appendList(q url.Values, list []glance.Image, more bool) []byte {
	b := make([]byte, 0, 256+1024*len(list))
	b = append(b, `{"images":[`...)
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendImage(b, &list[i])
	}
	b = append(b, `],"schema":"/v2/schemas/images"`...)
	if more {
		q.Set("marker", list[len(list)-1].ID)
		b = appendText(append(b, `,"next":`...), "/v2/images?"+q.Encode())
	}
	q.Del("marker")
	first := "/v2/images"
	if len(q) > 0 {
		first += "?" + q.Encode()
	}
	b = appendText(append(b, `,"first":`...), first)
	return append(b, '}')
}

// pageKeys are query parameters that are not filters.
var pageKeys = []string{"limit", "marker", "sort_key", "sort_dir", "sort"}

// maxFilters bounds the work that one list may ask for.
const maxFilters = 32

func readFilter(q url.Values) (glance.ImageFilter, error) {
	f := glance.ImageFilter{Equal: map[string][]string{}, Properties: map[string]string{}}
	n := 0
	for key, values := range q {
		if slices.Contains(pageKeys, key) {
			continue
		}
		if n += len(values); n > maxFilters {
			return f, fault.New(fault.BadRequest, "more than %d filters in one list", maxFilters)
		}
		if err := readOne(&f, key, values); err != nil {
			return f, err
		}
	}
	return f, nil
}

func readOne(f *glance.ImageFilter, key string, values []string) error {
	value := values[len(values)-1]
	var err error
	switch key {
	case "tag":
		f.Tags = values
	case "created_at", "updated_at":
		for _, v := range values {
			if err = addTime(f, key, v); err != nil {
				return err
			}
		}
	case "visibility":
		if !slices.Contains([]string{"public", "private", "shared", "community", "all"}, value) {
			return fault.New(fault.BadRequest, "invalid visibility value: %.40s", value)
		}
		f.Visibility = value
	case "member_status":
		if !slices.Contains([]string{"pending", "accepted", "rejected", "all"}, value) {
			return fault.New(fault.BadRequest, "invalid status: %.40s", value)
		}
		f.MemberStatus = value
	case "protected":
		var b bool
		b, err = readBool(key, value)
		f.Protected = &b
	case "os_hidden":
		f.Hidden, err = readBool(key, value)
	case "size_min", "size_max", "min_disk", "min_ram":
		err = addNumber(f, key, value)
	default:
		if slices.Contains(glance.FilterColumns(), key) {
			f.Equal[key], err = readIn(key, value)
		} else {
			f.Properties[key] = value
		}
	}
	return err
}

func readBool(key, value string) (bool, error) {
	switch strings.ToLower(value) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fault.New(fault.BadRequest, "invalid value %.40q for %s filter: it is neither true nor false", value, key)
}

func addNumber(f *glance.ImageFilter, key, value string) error {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return fault.New(fault.BadRequest, "invalid value %.40q for %s filter: it is not a whole number of at least 0", value, key)
	}
	switch key {
	case "size_min":
		f.SizeMin = &n
	case "size_max":
		f.SizeMax = &n
	case "min_disk":
		f.MinDisk = &n
	case "min_ram":
		f.MinRAM = &n
	}
	return nil
}

// readIn reads a value or a list in:a,"b,c" of values.
func readIn(key, value string) ([]string, error) {
	list, ok := strings.CutPrefix(value, "in:")
	if !ok {
		return []string{strings.TrimPrefix(value, "eq:")}, nil
	}
	rd := csv.NewReader(strings.NewReader(list))
	values, err := rd.Read()
	if err != nil || len(values) > 100 || slices.Contains(values, "") {
		return nil, fault.New(fault.BadRequest, "invalid filter value in:%.64s for %s: it is not a list of up to 100 values", list, key)
	}
	return values, nil
}

func addTime(f *glance.ImageFilter, key, value string) error {
	op, text, ok := strings.Cut(value, ":")
	if !ok || !slices.Contains([]string{"gt", "gte", "lt", "lte", "eq", "neq"}, op) {
		op, text = "eq", value
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02T15:04:05-0700", "20060102T150405Z", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.Parse(form, text); err == nil {
			f.Times = append(f.Times, glance.TimeFilter{Column: key, Op: op, At: t.UTC()})
			return nil
		}
	}
	return fault.New(fault.BadRequest, "invalid value %.64q for %s filter: it is not a time", value, key)
}
