package nova

import (
	"context"
	"maps"
	"regexp"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
)

// A Flavor is a size of server that a project may ask for. Its ID is chosen by
// the operator and never changes; a new size is a new flavor.
type Flavor struct {
	ID          string `bun:"flavorid,pk"`
	Seq         int64
	Name        string
	Description string `bun:",nullzero"`
	VCPUs       int    `bun:"vcpus"`
	MemoryMB    int    `bun:"memory_mb"`
	RootGB      int    `bun:"root_gb"`
	EphemeralGB int    `bun:"ephemeral_gb"`
	SwapMB      int    `bun:"swap_mb"`
	RXTXFactor  float64
	IsPublic    bool
	Disabled    bool
	ExtraSpecs  map[string]string
	Version     int64 // moves with every change of ExtraSpecs or Description
	CreatedAt   time.Time
	UpdatedAt   time.Time `bun:",nullzero"`
}

var (
	flavorID   = regexp.MustCompile(`^[a-zA-Z0-9. _-]{1,255}$`)
	specKey    = regexp.MustCompile(`^[a-zA-Z0-9-_:. ]{1,255}$`)
	maxInt32   = 1<<31 - 1
	maxExtra   = 128 // extra specs of one flavor
	blankEdges = regexp.MustCompile(`^\s|\s$`)
)

// CreateFlavor adds f; an empty or "auto" ID is given one. It returns a
// Conflict if the ID or the name is taken.
func (s *Service) CreateFlavor(ctx context.Context, f *Flavor) error {
	if f.ID == "" || f.ID == "auto" {
		f.ID = ids.UUID()
	}
	if !flavorID.MatchString(f.ID) || blankEdges.MatchString(f.ID) {
		return fault.New(fault.BadRequest, "flavor id %q may have only letters, digits, spaces, dots, underscores and dashes", f.ID)
	}
	if err := checkName("flavor name", f.Name); err != nil {
		return err
	}
	if err := f.checkSize(); err != nil {
		return err
	}
	if f.ExtraSpecs == nil {
		f.ExtraSpecs = map[string]string{}
	}
	f.CreatedAt = s.clock.Now()
	return s.insertFlavor(ctx, f)
}

func (f *Flavor) checkSize() error {
	for _, c := range []struct {
		name     string
		n, least int
	}{{"vcpus", f.VCPUs, 1}, {"ram", f.MemoryMB, 1}, {"disk", f.RootGB, 0},
		{"OS-FLV-EXT-DATA:ephemeral", f.EphemeralGB, 0}, {"swap", f.SwapMB, 0}} {
		if c.n < c.least || c.n > maxInt32 {
			return fault.New(fault.BadRequest, "invalid input for field/attribute %s: %d is not between %d and %d", c.name, c.n, c.least, maxInt32)
		}
	}
	if f.RXTXFactor <= 0 || f.RXTXFactor > 3.402823466e+38 {
		return fault.New(fault.BadRequest, "invalid input for field/attribute rxtx_factor: %g is not a positive number", f.RXTXFactor)
	}
	return nil
}

// FlavorFilter says which flavors a list has.
type FlavorFilter struct {
	ProjectID string // whose private flavors are visible; unused with All
	All       bool   // administrators: whatever is_public says
	IsPublic  *bool  // nil: public and accessible ones
	MinDisk   int
	MinRAM    int
	Limit     int
	Marker    string
	SortKey   string
	Desc      bool
}

// UpdateFlavorDescription changes the only field of a flavor that may change.
func (s *Service) UpdateFlavorDescription(ctx context.Context, id, description string) (*Flavor, error) {
	return s.changeFlavor(ctx, id, func(f *Flavor) error {
		f.Description = description
		return nil
	})
}

// SetExtraSpecs adds specs to those of the flavor.
func (s *Service) SetExtraSpecs(ctx context.Context, id string, specs map[string]string) (*Flavor, error) {
	for k, v := range specs {
		if !specKey.MatchString(k) {
			return nil, fault.New(fault.BadRequest, "Key Names can only contain alphanumeric characters, periods, dashes, underscores, colons and spaces.")
		}
		if len(v) > 255 {
			return nil, fault.New(fault.BadRequest, "the value of extra spec %s is longer than 255 characters", k)
		}
	}
	return s.changeFlavor(ctx, id, func(f *Flavor) error {
		maps.Copy(f.ExtraSpecs, specs)
		if len(f.ExtraSpecs) > maxExtra {
			return fault.New(fault.BadRequest, "a flavor may have at most %d extra specs", maxExtra)
		}
		return nil
	})
}

// DeleteExtraSpec removes one spec; a missing one is NotFound.
func (s *Service) DeleteExtraSpec(ctx context.Context, id, key string) error {
	_, err := s.changeFlavor(ctx, id, func(f *Flavor) error {
		if _, ok := f.ExtraSpecs[key]; !ok {
			return fault.New(fault.NotFound, "Flavor %s has no extra specs with key %s.", id, key)
		}
		delete(f.ExtraSpecs, key)
		return nil
	})
	return err
}

// snapshot is the flavor as a server keeps it.
func (f *Flavor) snapshot() rpc.Flavor {
	return rpc.Flavor{ID: f.ID, Name: f.Name, VCPUs: f.VCPUs, MemoryMB: f.MemoryMB, RootGB: f.RootGB,
		EphemeralGB: f.EphemeralGB, SwapMB: f.SwapMB, ExtraSpecs: f.ExtraSpecs}
}

func flavorNotFound(id string) error {
	return fault.New(fault.NotFound, "Flavor %s could not be found.", id)
}
