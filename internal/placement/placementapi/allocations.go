package placementapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/placement"
)

// A claimBody is what a PUT of allocations sends, and a POST for each consumer.
type claimBody struct {
	Allocations json.RawMessage         `json:"allocations"`
	ProjectID   *string                 `json:"project_id"`
	UserID      *string                 `json:"user_id"`
	Generation  httpapi.Nullable[int64] `json:"consumer_generation"`
	Type        *string                 `json:"consumer_type"`
	Mappings    *map[string][]string    `json:"mappings"`
}

// Bodies of "allocations": a list before 1.12, an object after.
type (
	listedAllocation struct {
		Provider struct {
			UUID string `json:"uuid"`
		} `json:"resource_provider"`
		Resources map[string]int64 `json:"resources"`
	}
	keyedAllocation struct {
		Resources  map[string]int64 `json:"resources"`
		Generation json.RawMessage  `json:"generation"` // of the provider; ignored, as a GET returns it
	}
)

var consumerType = regexp.MustCompile(`^[A-Z0-9_]{1,255}$`)

// claim checks a body against what the microversion asks for.
func (b *claimBody) claim(r *httpapi.Request, consumer string) (placement.Claim, error) {
	c := placement.Claim{Consumer: placement.Consumer{
		UUID: consumer, ProjectID: placement.NoOwner, UserID: placement.NoOwner, Type: placement.UnknownType,
	}, KeepType: !version(r, 38)}
	if !ids.IsUUID(consumer) {
		return c, fault.New(fault.BadRequest, "consumer %.60q is not a uuid", consumer)
	}
	if err := b.known(r); err != nil {
		return c, err
	}
	if version(r, 8) {
		if b.ProjectID == nil || b.UserID == nil {
			return c, fault.New(fault.BadRequest, "project_id and user_id are required properties")
		}
		for name, v := range map[string]string{"project_id": *b.ProjectID, "user_id": *b.UserID} {
			if v == "" || len(v) > 255 {
				return c, fault.New(fault.BadRequest, "%s: 1 to 255 characters are needed", name)
			}
		}
		c.Consumer.ProjectID, c.Consumer.UserID = *b.ProjectID, *b.UserID
	}
	if version(r, 28) {
		if !b.Generation.Set {
			return c, fault.New(fault.BadRequest, "consumer_generation is a required property")
		}
		c.CheckGeneration = true
		if !b.Generation.Null {
			c.Generation = &b.Generation.Value
		}
	}
	if version(r, 38) {
		if b.Type == nil || !consumerType.MatchString(*b.Type) {
			return c, fault.New(fault.BadRequest, "consumer_type is required, of A-Z, 0-9 and _")
		}
		c.Consumer.Type = *b.Type
	}
	var err error
	c.Allocations, err = b.amounts(r)
	return c, err
}

// known refuses properties that the microversion did not have.
func (b *claimBody) known(r *httpapi.Request) error {
	for _, f := range []struct {
		minor int
		there bool
		name  string
	}{
		{8, b.ProjectID != nil, "project_id"}, {8, b.UserID != nil, "user_id"},
		{28, b.Generation.Set, "consumer_generation"}, {34, b.Mappings != nil, "mappings"}, {38, b.Type != nil, "consumer_type"},
	} {
		if f.there && !version(r, f.minor) {
			return fault.New(fault.BadRequest, "additional properties are not allowed (%q was unexpected)", f.name)
		}
	}
	return nil
}

func (b *claimBody) amounts(r *httpapi.Request) (placement.Allocations, error) {
	all := placement.Allocations{}
	if len(b.Allocations) == 0 {
		return nil, fault.New(fault.BadRequest, "allocations is a required property")
	}
	if version(r, 12) {
		var in map[string]keyedAllocation
		if err := httpapi.DecodeJSON(b.Allocations, &in, true); err != nil {
			return nil, err
		}
		if in == nil {
			return nil, fault.New(fault.BadRequest, "allocations is not an object")
		}
		for uuid, k := range in {
			all[uuid] = k.Resources
		}
	} else {
		var in []listedAllocation
		if err := httpapi.DecodeJSON(b.Allocations, &in, true); err != nil {
			return nil, err
		}
		for _, l := range in {
			all[l.Provider.UUID] = l.Resources
		}
	}
	for uuid := range all {
		if !ids.IsUUID(uuid) {
			return nil, fault.New(fault.BadRequest, "allocations: %.60q is not the uuid of a resource provider", uuid)
		}
	}
	return all, nil
}

func (a *API) setAllocations(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in claimBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	c, err := in.claim(r, r.PathValue("consumer"))
	if err != nil {
		return nil, err
	}
	if len(c.Allocations) == 0 && !version(r, 28) {
		return nil, fault.New(fault.BadRequest, "allocations: an empty set is not allowed before microversion 1.28")
	}
	if err := a.placement.Replace(r.Context(), c); err != nil {
		return nil, err
	}
	return a.fresh(r, 0, nil), nil
}

func (a *API) manageAllocations(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	if err := since(r, 13); err != nil {
		return nil, err
	}
	var in map[string]*claimBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if len(in) == 0 {
		return nil, fault.New(fault.BadRequest, "no consumers are given")
	}
	claims, err := readClaims(r, in)
	if err != nil {
		return nil, err
	}
	if err := a.placement.Replace(r.Context(), claims...); err != nil {
		return nil, err
	}
	return a.fresh(r, 0, nil), nil
}

func readClaims(r *httpapi.Request, bodies map[string]*claimBody) ([]placement.Claim, error) {
	claims := make([]placement.Claim, 0, len(bodies))
	for _, consumer := range slices.Sorted(maps.Keys(bodies)) {
		body := bodies[consumer]
		if body == nil {
			return nil, fault.New(fault.BadRequest, "allocations of %.60q are not an object", consumer)
		}
		c, err := body.claim(r, consumer)
		if err != nil {
			return nil, err
		}
		claims = append(claims, c)
	}
	return claims, nil
}

type heldView struct {
	Resources  map[string]int64 `json:"resources"`
	Generation int64            `json:"generation"`
}

func (a *API) showAllocations(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	consumer := r.PathValue("consumer")
	if !ids.IsUUID(consumer) {
		return nil, fault.New(fault.BadRequest, "consumer %.60q is not a uuid", consumer)
	}
	h, err := a.placement.Holding(r.Context(), consumer)
	if err != nil {
		return nil, err
	}
	held := map[string]heldView{}
	for uuid, res := range h.Allocations {
		held[uuid] = heldView{res, h.Generations[uuid]}
	}
	v := map[string]any{"allocations": held}
	if len(held) > 0 {
		if version(r, 12) {
			v["project_id"], v["user_id"] = h.Consumer.ProjectID, h.Consumer.UserID
		}
		if version(r, 28) {
			v["consumer_generation"] = h.Consumer.Generation
		}
		if version(r, 38) {
			v["consumer_type"] = h.Consumer.Type
		}
	}
	return a.fresh(r, 0, v), nil
}

func (a *API) deleteAllocations(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	return nil, a.placement.DeleteAllocations(r.Context(), r.PathValue("consumer"))
}

type consumerView struct {
	Resources  map[string]int64 `json:"resources"`
	Generation *int64           `json:"consumer_generation,omitempty"`
}

func (a *API) providerAllocations(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	p, held, err := a.placement.ProviderAllocations(r.Context(), r.PathValue("uuid"))
	if err != nil {
		return nil, err
	}
	views := map[string]consumerView{}
	for i := range held {
		v := consumerView{Resources: held[i].Allocations[p.UUID]}
		if version(r, 28) {
			v.Generation = &held[i].Consumer.Generation
		}
		views[held[i].Consumer.UUID] = v
	}
	return a.fresh(r, 0, map[string]any{"allocations": views, "resource_provider_generation": p.Generation}), nil
}

// usages sums what a project uses; by consumer type since 1.38.
func (a *API) usages(r *httpapi.Request) (any, error) {
	q := r.URL.Query()
	f := placement.UsageFilter{ProjectID: q.Get("project_id"), UserID: q.Get("user_id")}
	if err := r.Enforce(map[string]any{"project_id": f.ProjectID}); err != nil {
		return nil, err
	}
	if err := since(r, 9); err != nil {
		return nil, err
	}
	known := []string{"project_id", "user_id"}
	if version(r, 38) {
		known = append(known, "consumer_type")
	}
	if err := onlyKnown(q, known...); err != nil {
		return nil, err
	}
	if f.ProjectID == "" {
		return nil, fault.New(fault.BadRequest, "project_id is a required parameter").WithCode(placement.CodeMissingValue)
	}
	asked := q.Get("consumer_type")
	if asked != "all" {
		f.Type = asked
	}
	list, err := a.placement.Usages(r.Context(), f)
	if err != nil {
		return nil, err
	}
	if !version(r, 38) || asked == "all" {
		sum := map[string]int64{}
		var consumers int64
		for _, u := range list {
			for class, n := range u.Resources {
				sum[class] += n
			}
			consumers += u.Consumers
		}
		if !version(r, 38) {
			return a.fresh(r, http.StatusOK, map[string]any{"usages": sum}), nil
		}
		sum["consumer_count"] = consumers
		return a.fresh(r, http.StatusOK, map[string]any{"usages": map[string]any{"all": sum}}), nil
	}
	byType := map[string]map[string]int64{}
	for _, u := range list {
		byType[u.Type] = u.Resources
		byType[u.Type]["consumer_count"] = u.Consumers
	}
	return a.fresh(r, http.StatusOK, map[string]any{"usages": byType}), nil
}
