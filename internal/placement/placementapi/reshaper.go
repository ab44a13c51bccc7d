package placementapi

import (
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/placement"
)

type reshapeBody struct {
	Inventories map[string]*struct {
		Generation  httpapi.Nullable[int64]   `json:"resource_provider_generation"`
		Inventories map[string]*inventoryBody `json:"inventories"`
	} `json:"inventories"`
	Allocations map[string]*claimBody `json:"allocations"`
}

// reshape moves inventories and allocations within trees at once (1.30).
func (a *API) reshape(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if err := since(r, 30); err != nil {
		return nil, err
	}
	var in reshapeBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if len(in.Inventories) == 0 || in.Allocations == nil {
		return nil, fault.New(fault.BadRequest, "inventories and allocations are required properties")
	}
	providers := map[string]placement.Reshaping{}
	for uuid, p := range in.Inventories {
		if !ids.IsUUID(uuid) || p == nil || p.Inventories == nil || !p.Generation.Set {
			return nil, fault.New(fault.BadRequest, "inventories of %.60q: resource_provider_generation and inventories are required properties", uuid)
		}
		list, err := readInventories(p.Inventories)
		if err != nil {
			return nil, err
		}
		// Null stands for a provider that was just made: its generation is 0.
		providers[uuid] = placement.Reshaping{Generation: p.Generation.Value, Inventories: list}
	}
	claims, err := readClaims(r, in.Allocations)
	if err != nil {
		return nil, err
	}
	if err := a.placement.Reshape(r.Context(), providers, claims); err != nil {
		return nil, err
	}
	return a.fresh(r, 0, nil), nil
}
