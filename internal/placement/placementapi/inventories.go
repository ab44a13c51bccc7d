package placementapi

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/placement"
)

type inventoryView struct {
	Total           int64 `json:"total"`
	Reserved        int64 `json:"reserved"`
	MinUnit         int64 `json:"min_unit"`
	MaxUnit         int64 `json:"max_unit"`
	StepSize        int64 `json:"step_size"`
	AllocationRatio ratio `json:"allocation_ratio"`
}

// A ratio is written with a point, as 16.0: clients in typed languages read a
// bare 16 as a whole number.
type ratio float64

// MarshalJSON writes the shortest form that has a point or an exponent.
func (r ratio) MarshalJSON() ([]byte, error) {
	b := strconv.AppendFloat(nil, float64(r), 'g', -1, 64)
	if !bytes.ContainsAny(b, ".e") {
		b = append(b, ".0"...)
	}
	return b, nil
}

type oneInventoryView struct {
	inventoryView
	Generation int64 `json:"resource_provider_generation"`
}

type inventoriesView struct {
	Inventories map[string]inventoryView `json:"inventories"`
	Generation  int64                    `json:"resource_provider_generation"`
}

func viewInventory(i *placement.Inventory) inventoryView {
	return inventoryView{i.Total, i.Reserved, i.MinUnit, i.MaxUnit, i.StepSize, ratio(i.AllocationRatio)}
}

func viewInventories(p *placement.Provider) inventoriesView {
	v := inventoriesView{Inventories: map[string]inventoryView{}, Generation: p.Generation}
	for i := range p.Inventories {
		v.Inventories[p.Inventories[i].Class] = viewInventory(&p.Inventories[i])
	}
	return v
}

type inventoryBody struct {
	Total           *int64   `json:"total"`
	Reserved        *int64   `json:"reserved"`
	MinUnit         *int64   `json:"min_unit"`
	MaxUnit         *int64   `json:"max_unit"`
	StepSize        *int64   `json:"step_size"`
	AllocationRatio *float64 `json:"allocation_ratio"`
}

func (b *inventoryBody) inventory(class string) (placement.Inventory, error) {
	if b.Total == nil {
		return placement.Inventory{}, fault.New(fault.BadRequest, "inventory of %.80s: total is a required property", class)
	}
	i := placement.NewInventory(class, *b.Total)
	for _, f := range []struct {
		to   *int64
		from *int64
	}{{&i.Reserved, b.Reserved}, {&i.MinUnit, b.MinUnit}, {&i.MaxUnit, b.MaxUnit}, {&i.StepSize, b.StepSize}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if b.AllocationRatio != nil {
		i.AllocationRatio = *b.AllocationRatio
	}
	return i, nil
}

func (a *API) listInventories(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	p, err := a.placement.Provider(r.Context(), r.PathValue("uuid"))
	if err != nil {
		return nil, err
	}
	return a.fresh(r, 0, viewInventories(p)), nil
}

func (a *API) showInventory(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	p, err := a.placement.Provider(r.Context(), r.PathValue("uuid"))
	if err != nil {
		return nil, err
	}
	inv := p.Inventory(r.PathValue("class"))
	if inv == nil {
		return nil, fault.New(fault.NotFound, "no inventory of class %.80s for %s", r.PathValue("class"), p.UUID)
	}
	return a.fresh(r, 0, oneInventoryView{viewInventory(inv), p.Generation}), nil
}

func (a *API) setInventories(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in struct {
		Generation  *int64                    `json:"resource_provider_generation"`
		Inventories map[string]*inventoryBody `json:"inventories"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Generation == nil || in.Inventories == nil {
		return nil, fault.New(fault.BadRequest, "resource_provider_generation and inventories are required properties")
	}
	list, err := readInventories(in.Inventories)
	if err != nil {
		return nil, err
	}
	p, err := a.placement.SetInventories(r.Context(), r.PathValue("uuid"), *in.Generation, list, version(r, 26))
	if err != nil {
		return nil, err
	}
	return a.fresh(r, 0, viewInventories(p)), nil
}

func readInventories(bodies map[string]*inventoryBody) ([]placement.Inventory, error) {
	list := make([]placement.Inventory, 0, len(bodies))
	for class, b := range bodies {
		if b == nil {
			return nil, fault.New(fault.BadRequest, "inventory of %.80s is not an object", class)
		}
		inv, err := b.inventory(class)
		if err != nil {
			return nil, err
		}
		list = append(list, inv)
	}
	return list, nil
}

func (a *API) createInventory(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in struct {
		Class      string `json:"resource_class"`
		Generation *int64 `json:"resource_provider_generation"`
		inventoryBody
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Class == "" {
		return nil, fault.New(fault.BadRequest, "resource_class is a required property")
	}
	inv, err := in.inventory(in.Class)
	if err != nil {
		return nil, err
	}
	p, err := a.placement.SetInventory(r.Context(), r.PathValue("uuid"), in.Generation, inv, true, version(r, 26))
	if err != nil {
		return nil, err
	}
	resp := a.fresh(r, http.StatusCreated, oneInventoryView{viewInventory(p.Inventory(in.Class)), p.Generation})
	resp.Header.Set("Location", r.PublicURL()+"/resource_providers/"+p.UUID+"/inventories/"+in.Class)
	return resp, nil
}

func (a *API) setInventory(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in struct {
		Generation *int64 `json:"resource_provider_generation"`
		inventoryBody
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Generation == nil {
		return nil, fault.New(fault.BadRequest, "resource_provider_generation is a required property")
	}
	class := r.PathValue("class")
	inv, err := in.inventory(class)
	if err != nil {
		return nil, err
	}
	p, err := a.placement.SetInventory(r.Context(), r.PathValue("uuid"), in.Generation, inv, false, version(r, 26))
	if err != nil {
		return nil, err
	}
	return a.fresh(r, 0, oneInventoryView{viewInventory(p.Inventory(class)), p.Generation}), nil
}

func (a *API) deleteInventory(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	return nil, a.placement.DeleteInventories(r.Context(), r.PathValue("uuid"), r.PathValue("class"))
}

func (a *API) deleteInventories(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if !version(r, 5) {
		return nil, fault.New(fault.MethodNotAllowed, "DELETE of all inventories needs microversion 1.5")
	}
	return nil, a.placement.DeleteInventories(r.Context(), r.PathValue("uuid"), "")
}

func (a *API) providerUsages(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	p, err := a.placement.Provider(r.Context(), r.PathValue("uuid"))
	if err != nil {
		return nil, err
	}
	usages := map[string]int64{}
	for _, i := range p.Inventories {
		usages[i.Class] = i.Used
	}
	return a.fresh(r, 0, map[string]any{"resource_provider_generation": p.Generation, "usages": usages}), nil
}
