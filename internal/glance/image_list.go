package glance

import (
	"context"
	"time"

	"github.com/hastack/hastack/internal/fault"
)

// An ImageFilter says which images a list holds. The zero value is every image
// that the viewer sees by default: its own, public ones, and shared ones that
// it accepted; for admins all.
type ImageFilter struct {
	Equal        map[string][]string // column → any of these values
	Properties   map[string]string
	Tags         []string // all of them
	Times        []TimeFilter
	Protected    *bool
	Hidden       bool
	SizeMin      *int64
	SizeMax      *int64
	MinDisk      *int64
	MinRAM       *int64
	Visibility   string // public, private, shared, community, all; "" is the default above
	MemberStatus string // of shared images of others; "" means accepted, "all" any
}

// A TimeFilter compares created_at or updated_at.
type TimeFilter struct {
	Column string
	Op     string // gt, gte, lt, lte, eq, neq
	At     time.Time
}

// FilterColumns are the attributes that Equal may name.
func FilterColumns() []string {
	return []string{"id", "name", "status", "owner", "disk_format", "container_format", "checksum", "os_hash_value", "os_hash_algo"}
}

// SortKeys are the attributes that a list may be sorted by.
func SortKeys() []string {
	return []string{"created_at", "updated_at", "id", "name", "status", "container_format", "disk_format", "size",
		"visibility", "owner", "min_disk", "min_ram", "virtual_size", "os_hidden", "protected"}
}

// An ImageSort is one key of an order.
type ImageSort struct {
	Key  string
	Desc bool
}

// ImagePage is the part of a list that is wanted.
type ImagePage struct {
	Limit  int
	Marker string
	Sort   []ImageSort
}

// Images lists images; more tells that the list goes on behind the last one.
func (s *Service) Images(ctx context.Context, v Viewer, f ImageFilter, p ImagePage) (list []Image, more bool, err error) {
	var after *Image
	if p.Marker != "" {
		if after, err = s.Image(ctx, v, p.Marker); err != nil {
			return nil, false, fault.New(fault.BadRequest, "invalid marker: no image found with ID %.64s", p.Marker)
		}
	}
	if p.Limit == 0 {
		return []Image{}, false, nil
	}
	// The id makes every order total, so that paging never skips or repeats.
	p.Sort = append(append([]ImageSort(nil), p.Sort...), ImageSort{Key: "id", Desc: len(p.Sort) == 0 || p.Sort[len(p.Sort)-1].Desc})
	list, err = s.selectImages(ctx, v, f, p, after)
	if err != nil {
		return nil, false, err
	}
	if len(list) > p.Limit {
		return list[:p.Limit], true, nil
	}
	return list, false, nil
}
