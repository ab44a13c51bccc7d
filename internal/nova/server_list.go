package nova

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/fault"
)

// A ServerFilter says which servers a list has, in which order and from where.
type ServerFilter struct {
	ProjectID  string // "" lists all projects
	IDs        []string
	Name       string // regular expression, without case
	Status     []string
	Equal      map[string]string // column to value, see filterColumns
	IP, IPv6   string            // regular expressions
	Tags       []string          // all of them
	TagsAny    []string
	NotTags    []string // not all of them
	NotTagsAny []string
	Locked     *bool

	ChangesSince  time.Time
	ChangesBefore time.Time
	Deleted       bool // only deleted ones
	WithDeleted   bool

	Sort   []SortKey
	Limit  int
	Marker string

	// Brief reads only what a list without details shows.
	Brief bool
	// UserData reads user_data too, which only administrators see.
	UserData bool
}

// A SortKey is a column with its direction.
type SortKey struct {
	Column string
	Desc   bool
}

// filterColumns maps the names of Nova's query parameters to columns that are
// compared as they are.
var filterColumns = map[string]string{
	"host": "host", "node": "node", "flavor": "flavor_id", "image": "image_id", "user_id": "user_id",
	"reservation_id": "reservation_id", "uuid": "id", "key_name": "key_name", "availability_zone": "az",
	"task_state": "task_state", "vm_state": "vm_state", "power_state": "power_state", "hostname": "hostname",
	"launch_index": "launch_index", "access_ip_v4": "access_ip_v4", "access_ip_v6": "access_ip_v6",
	"root_device_name": "root_device", "description": "description", "locked_by": "locked_by", "project_id": "project_id",
	"tenant_id": "project_id", "config_drive": "config_drive",
}

// FilterColumn is the column behind a query parameter; false if none is.
func FilterColumn(param string) (string, bool) {
	c, ok := filterColumns[param]
	return c, ok
}

// sortColumns are the columns a list may be sorted by; those that may be NULL
// are read with a value in its place, for NULL has no order.
var sortColumns = map[string]string{
	"created_at": "created_at", "updated_at": "updated_at", "uuid": "id",
	"access_ip_v4": "COALESCE(access_ip_v4, '')", "access_ip_v6": "COALESCE(access_ip_v6, '')",
	"auto_disk_config": "disk_config", "availability_zone": "COALESCE(az, '')", "config_drive": "config_drive",
	"display_description": "COALESCE(description, '')", "display_name": "name", "host": "COALESCE(host, '')",
	"hostname": "hostname", "image_ref": "COALESCE(image_id, '')", "instance_type_id": "flavor_id",
	"key_name": "COALESCE(key_name, '')", "launch_index": "launch_index",
	"launched_at": "COALESCE(launched_at, '1970')", "locked_by": "COALESCE(locked_by, '')",
	"node": "COALESCE(node, '')", "power_state": "power_state", "progress": "progress",
	"project_id": "project_id", "root_device_name": "root_device", "task_state": "COALESCE(task_state, '')",
	"terminated_at": "COALESCE(terminated_at, '1970')", "user_id": "user_id", "vm_state": "vm_state",
	"locked": "CASE WHEN locked_by IS NULL THEN 0 ELSE 1 END",
}

// SortColumns are the sort keys of GET /servers.
func SortColumns() []string {
	keys := make([]string, 0, len(sortColumns))
	for k := range sortColumns {
		keys = append(keys, k)
	}
	return keys
}

// A matcher tests in Go what no portable SQL can; nil lets all pass.
type matcher func(*Server) bool

// matcher compiles the regular expressions of the filter. RE2 has no pattern
// that takes exponential time, so a hostile one costs no more than another.
func (f *ServerFilter) matcher() (matcher, error) {
	var tests []matcher
	if f.Name != "" && !plainText(f.Name) {
		re, err := compileFilter("name", f.Name)
		if err != nil {
			return nil, err
		}
		tests = append(tests, func(s *Server) bool { return re.MatchString(s.Name) })
	}
	for _, ip := range []struct {
		pattern string
		version int
	}{{f.IP, 4}, {f.IPv6, 6}} {
		if ip.pattern == "" {
			continue
		}
		re, err := compileFilter("ip", ip.pattern)
		if err != nil {
			return nil, err
		}
		tests = append(tests, func(s *Server) bool { return s.hasAddress(re, ip.version) })
	}
	if len(tests) == 0 {
		return nil, nil
	}
	return func(s *Server) bool {
		for _, t := range tests {
			if !t(s) {
				return false
			}
		}
		return true
	}, nil
}

func compileFilter(field, pattern string) (*regexp.Regexp, error) {
	if len(pattern) > 255 {
		return nil, fault.New(fault.BadRequest, "the filter %s is longer than 255 characters", field)
	}
	re, err := regexp.Compile("(?i)" + pattern)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "Invalid regular expression in filter %s", field)
	}
	return re, nil
}

// plainText tells whether a pattern is only letters, which SQL can look for.
func plainText(pattern string) bool { return !strings.ContainsAny(pattern, `\.+*?()|[]{}^$%_`) }

func (s *Server) hasAddress(re *regexp.Regexp, version int) bool {
	for _, v := range s.InfoCache {
		for _, sub := range v.Subnets {
			if sub.Version != version {
				continue
			}
			for _, a := range sub.Addrs {
				if re.MatchString(a.IP) {
					return true
				}
				if slices.ContainsFunc(a.Floating, re.MatchString) {
					return true
				}
			}
		}
	}
	return false
}
