package compute

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/openstack"
)

// A provider is the host in Placement. Generation is of its last known change.
type provider struct {
	ID         string `json:"uuid"`
	Name       string `json:"name"`
	Generation int    `json:"generation"`
}

// An inventory is what a host offers, by resource class.
type inventory map[string]classInventory

type classInventory struct {
	Total    int     `json:"total"`
	Reserved int     `json:"reserved"`
	MinUnit  int     `json:"min_unit"`
	MaxUnit  int     `json:"max_unit"`
	StepSize int     `json:"step_size"`
	Ratio    float64 `json:"allocation_ratio"`
}

// placementAPI is what the agent needs of Placement.
type placementAPI interface {
	// Ensure finds or makes the provider of that name.
	Ensure(ctx context.Context, name string) (provider, error)
	// SetInventory replaces what p offers; a p that is out of date is Conflict.
	SetInventory(ctx context.Context, p provider, inv inventory) (provider, error)
	SetTraits(ctx context.Context, p provider, traits []string) (provider, error)
}

// register writes the host's inventory to Placement when it differs from what
// was written last.
func (a *Agent) register(ctx context.Context) error {
	h, err := a.driver.Host(ctx)
	if err != nil {
		return err
	}
	unit := func(total, reserved int, ratio float64) classInventory {
		return classInventory{Total: total, Reserved: min(reserved, max(total-1, 0)), MinUnit: 1, MaxUnit: total, StepSize: 1, Ratio: ratio}
	}
	inv := inventory{"VCPU": unit(h.VCPUs, 0, a.cfg.CPURatio),
		"MEMORY_MB": unit(h.MemoryMB, a.cfg.ReservedMemoryMB, a.cfg.MemoryRatio),
		"DISK_GB":   unit(h.DiskGB, a.cfg.ReservedDiskGB, a.cfg.DiskRatio)}
	for class, c := range inv {
		if c.Total < 1 {
			delete(inv, class)
		}
	}
	a.mu.Lock()
	same := reflect.DeepEqual(inv, a.report.inventory)
	a.mu.Unlock()
	if same {
		return nil
	}
	p, err := a.placement.Ensure(ctx, a.cfg.Host)
	if err != nil {
		return fmt.Errorf("resource provider of the host: %w", err)
	}
	if p, err = a.placement.SetInventory(ctx, p, inv); err != nil {
		return fmt.Errorf("inventory of the host: %w", err)
	}
	if q, err := a.placement.SetTraits(ctx, p, h.Traits); err != nil {
		// Traits refine what may be asked for; the host serves without them.
		a.log.WarnContext(ctx, "traits not set", slog.Any("error", err))
	} else {
		p = q
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report.inventory, a.report.provider = inv, p
	return nil
}

// placement is placementAPI over Placement's public API.
type placement struct {
	clients *openstack.Clients
}

const placementVersion = "placement 1.36"

func (p *placement) client(ctx context.Context) (*gophercloud.ServiceClient, error) {
	return p.clients.Placement(ctx)
}

func placementOpts(codes ...int) *gophercloud.RequestOpts {
	return &gophercloud.RequestOpts{OkCodes: codes, MoreHeaders: map[string]string{"OpenStack-API-Version": placementVersion}}
}

func (p *placement) Ensure(ctx context.Context, name string) (provider, error) {
	sc, err := p.client(ctx)
	if err != nil {
		return provider{}, err
	}
	for range 2 {
		var list struct {
			Providers []provider `json:"resource_providers"`
		}
		if _, err := sc.Get(ctx, sc.ServiceURL("resource_providers")+"?name="+url.QueryEscape(name), &list, placementOpts(200)); err != nil {
			return provider{}, openstack.Fault(err)
		}
		if len(list.Providers) > 0 {
			return list.Providers[0], nil
		}
		var made provider
		_, err := sc.Post(ctx, sc.ServiceURL("resource_providers"), map[string]any{"name": name}, &made, placementOpts(200, 201))
		if err == nil {
			return made, nil
		}
		if err = openstack.Fault(err); !fault.Is(err, fault.Conflict) {
			return provider{}, err
		}
	}
	return provider{}, fault.New(fault.Conflict, "resource provider %s is made and removed by others", name)
}

func (p *placement) SetInventory(ctx context.Context, of provider, inv inventory) (provider, error) {
	sc, err := p.client(ctx)
	if err != nil {
		return of, err
	}
	at := sc.ServiceURL("resource_providers", of.ID, "inventories")
	var have struct {
		Generation int       `json:"resource_provider_generation"`
		Inventory  inventory `json:"inventories"`
	}
	if _, err := sc.Get(ctx, at, &have, placementOpts(200)); err != nil {
		return of, openstack.Fault(err)
	}
	of.Generation = have.Generation
	if reflect.DeepEqual(have.Inventory, inv) {
		return of, nil // written by an earlier agent
	}
	body := map[string]any{"resource_provider_generation": have.Generation, "inventories": inv}
	if _, err := sc.Put(ctx, at, body, &have, placementOpts(200)); err != nil {
		return of, openstack.Fault(err)
	}
	of.Generation = have.Generation
	return of, nil
}

func (p *placement) SetTraits(ctx context.Context, of provider, traits []string) (provider, error) {
	sc, err := p.client(ctx)
	if err != nil {
		return of, err
	}
	at := sc.ServiceURL("resource_providers", of.ID, "traits")
	var have struct {
		Generation int      `json:"resource_provider_generation"`
		Traits     []string `json:"traits"`
	}
	if _, err := sc.Get(ctx, at, &have, placementOpts(200)); err != nil {
		return of, openstack.Fault(err)
	}
	of.Generation = have.Generation
	want := slices.Clone(traits)
	slices.Sort(want)
	slices.Sort(have.Traits)
	if slices.Equal(want, have.Traits) || len(want) == 0 {
		return of, nil
	}
	body := map[string]any{"resource_provider_generation": have.Generation, "traits": want}
	if _, err := sc.Put(ctx, at, body, &have, placementOpts(200)); err != nil {
		return of, openstack.Fault(err)
	}
	of.Generation = have.Generation
	return of, nil
}
