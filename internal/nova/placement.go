package nova

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/openstack"
)

// placementVersion has consumer types, generations and root providers.
const placementVersion = "1.38"

func okCodes(codes ...int) *gophercloud.RequestOpts {
	return &gophercloud.RequestOpts{OkCodes: codes}
}

func (s *Service) placement(ctx context.Context) (*gophercloud.ServiceClient, error) {
	sc, err := s.clients.Placement(ctx)
	if err != nil {
		return nil, err
	}
	versioned := *sc // the client is shared; its version is not ours to set
	versioned.Type, versioned.Microversion = "placement", placementVersion
	return &versioned, nil
}

// resourcesOf is what a flavor consumes, with the overrides of its extra specs
// ("resources:CUSTOM_X": "1", "resources:VCPU": "0").
func resourcesOf(f *rpc.Flavor) map[string]int {
	r := map[string]int{
		"VCPU": f.VCPUs, "MEMORY_MB": f.MemoryMB,
		"DISK_GB": f.RootGB + f.EphemeralGB + (f.SwapMB+1023)/1024,
	}
	for k, v := range f.ExtraSpecs {
		if class, ok := strings.CutPrefix(k, "resources:"); ok {
			if n, err := strconv.Atoi(v); err == nil && n >= 0 {
				r[class] = n
			}
		}
	}
	maps.DeleteFunc(r, func(_ string, n int) bool { return n == 0 })
	return r
}

// traitsOf are the traits that a flavor and an image require and forbid.
func traitsOf(f *rpc.Flavor, props map[string]string) []string {
	var list []string
	for _, m := range []map[string]string{f.ExtraSpecs, props} {
		for k, v := range m {
			name, ok := strings.CutPrefix(k, "trait:")
			switch {
			case ok && v == "required":
				list = append(list, name)
			case ok && v == "forbidden":
				list = append(list, "!"+name)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

type providerSummary struct {
	Resources map[string]struct {
		Capacity int `json:"capacity"`
		Used     int `json:"used"`
	} `json:"resources"`
}

func (p *providerSummary) free(class string) int {
	r := p.Resources[class]
	return r.Capacity - r.Used
}

// candidates are the providers that have room: id to figures.
func (s *Service) candidates(ctx context.Context, resources map[string]int, traits []string, limit int) (map[string]providerSummary, error) {
	sc, err := s.placement(ctx)
	if err != nil {
		return nil, err
	}
	parts := make([]string, 0, len(resources))
	for _, class := range slices.Sorted(maps.Keys(resources)) {
		parts = append(parts, class+":"+strconv.Itoa(resources[class]))
	}
	q := url.Values{"resources": {strings.Join(parts, ",")}}
	if len(traits) > 0 {
		q.Set("required", strings.Join(traits, ","))
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var out struct {
		Requests []struct {
			Allocations map[string]struct{} `json:"allocations"`
		} `json:"allocation_requests"`
		Summaries map[string]providerSummary `json:"provider_summaries"`
	}
	if _, err := sc.Get(ctx, sc.ServiceURL("allocation_candidates")+"?"+q.Encode(), &out, nil); err != nil {
		return nil, fmt.Errorf("ask placement for candidates: %w", openstack.Fault(err))
	}
	found := make(map[string]providerSummary, len(out.Requests))
	for _, r := range out.Requests {
		for id := range r.Allocations {
			found[id] = out.Summaries[id]
		}
	}
	return found, nil
}

// claim takes the resources on a provider for a server. It answers false when
// another claim was faster and no room is left. A claim that this server
// already has is replaced: a repeated step finds its own leftovers.
func (s *Service) claim(ctx context.Context, srv *Server, providerID string) (bool, error) {
	sc, err := s.placement(ctx)
	if err != nil {
		return false, err
	}
	body := map[string]any{
		"allocations":   map[string]any{providerID: map[string]any{"resources": resourcesOf(&srv.Flavor)}},
		"project_id":    srv.ProjectID,
		"user_id":       srv.UserID,
		"consumer_type": "INSTANCE", "consumer_generation": nil,
	}
	for range 4 {
		_, err = sc.Put(ctx, sc.ServiceURL("allocations", srv.ID), body, nil, okCodes(204))
		err = openstack.Fault(err)
		f := fault.As(err)
		if err == nil || f == nil || f.Kind != fault.Conflict {
			break
		}
		if !strings.Contains(f.Code, "concurrent_update") {
			return false, nil // no room
		}
		if body["consumer_generation"], err = s.consumerGeneration(ctx, sc, srv.ID); err != nil {
			return false, err
		}
	}
	if fault.Is(err, fault.Conflict) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("claim on provider %s: %w", providerID, err)
	}
	return true, nil
}

// consumerGeneration is nil for a consumer without allocations.
func (s *Service) consumerGeneration(ctx context.Context, sc *gophercloud.ServiceClient, id string) (any, error) {
	var out struct {
		Allocations map[string]any `json:"allocations"`
		Generation  *int           `json:"consumer_generation"`
	}
	if _, err := sc.Get(ctx, sc.ServiceURL("allocations", id), &out, nil); err != nil {
		return nil, openstack.Fault(err)
	}
	if len(out.Allocations) == 0 || out.Generation == nil {
		return nil, nil
	}
	return *out.Generation, nil
}

// unclaim gives a server's resources back. Nothing to give back is no error.
func (s *Service) unclaim(ctx context.Context, serverID string) error {
	sc, err := s.placement(ctx)
	if err != nil {
		return err
	}
	_, err = sc.Delete(ctx, sc.ServiceURL("allocations", serverID), okCodes(204, 404))
	if err = openstack.Fault(err); err != nil && !fault.Is(err, fault.NotFound) {
		return fmt.Errorf("give back the allocation: %w", err)
	}
	return nil
}
