package placement

import (
	"context"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// A Consumer is what holds resources: a server, a migration. It exists as long
// as it has allocations.
type Consumer struct {
	UUID, ProjectID, UserID string
	Type                    string // "INSTANCE"; UnknownType if nobody said
	Generation              int64
}

// UnknownType is the type of a consumer that was made before there were types.
const UnknownType = "unknown"

// NoOwner stands for the project and the user of a consumer that was made by
// a client too old to name them (before microversion 1.8).
const NoOwner = "00000000-0000-0000-0000-000000000000"

// Allocations are amounts by provider and class.
type Allocations map[string]map[string]int64

// A Claim replaces all allocations of one consumer, with none it gives them
// back.
type Claim struct {
	Consumer Consumer
	// CheckGeneration tells that Generation is what the caller has seen, nil
	// for a consumer that does not exist yet. Clients before 1.28 cannot say.
	CheckGeneration bool
	Generation      *int64
	// KeepType leaves the type of a consumer that exists (before 1.38).
	KeepType    bool
	Allocations Allocations
}

// Replace writes the claims, all or none. Conflict means that there is no room
// or (with CodeConcurrentUpdate) that a consumer changed in the meantime.
func (s *Service) Replace(ctx context.Context, claims ...Claim) error {
	for i := range claims {
		if err := claims[i].check(); err != nil {
			return err
		}
	}
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error { return s.replaceAll(ctx, tx, claims) })
}

func (s *Service) replaceAll(ctx context.Context, tx bun.Tx, claims []Claim) error {
	touched := map[string]bool{}
	deltas := needs{}
	for i := range claims {
		if err := s.replaceOne(ctx, tx, &claims[i], deltas, touched); err != nil {
			return err
		}
	}
	// Summed up first: a move within one request needs the room it makes.
	if err := s.applyDeltas(ctx, tx, deltas); err != nil {
		return err
	}
	return s.touchAllocated(ctx, tx, touched)
}

func (c *Claim) check() error {
	if !ids.IsUUID(c.Consumer.UUID) {
		return fault.New(fault.BadRequest, "consumer %.60q is not a uuid", c.Consumer.UUID)
	}
	for uuid, classes := range c.Allocations {
		if len(classes) == 0 {
			return fault.New(fault.BadRequest, "allocation on resource provider %s names no resources", uuid)
		}
		for class, n := range classes {
			if n < 1 || n > MaxInt {
				return fault.New(fault.BadRequest, "allocation of %s: %d is not between 1 and %d", class, n, int64(MaxInt))
			}
		}
	}
	return nil
}

// replaceOne writes the rows of one consumer and adds what changes of the
// inventories to deltas.
func (s *Service) replaceOne(ctx context.Context, tx bun.Tx, c *Claim, deltas needs, touched map[string]bool) error {
	if c.CheckGeneration && c.Generation == nil && len(c.Allocations) > 0 {
		// The claim of a new server: its insert tells whether it is new.
		if err := s.insertConsumer(ctx, tx, &c.Consumer); err != nil {
			return err
		}
		deltas.add(c.Allocations, 1, touched)
		return insertAllocations(ctx, tx, c.Consumer.UUID, c.Allocations)
	}
	old, err := selectConsumer(ctx, tx, c.Consumer.UUID)
	if err != nil {
		return err
	}
	if err := c.checkGeneration(old); err != nil {
		return err
	}
	if old == nil {
		if len(c.Allocations) == 0 {
			return nil
		}
		if err := s.insertConsumer(ctx, tx, &c.Consumer); err != nil {
			return err
		}
	} else if err := s.replaceOld(ctx, tx, c, old, deltas, touched); err != nil {
		return err
	}
	deltas.add(c.Allocations, 1, touched)
	return insertAllocations(ctx, tx, c.Consumer.UUID, c.Allocations)
}

// replaceOld takes the rows of a consumer that exists away.
func (s *Service) replaceOld(ctx context.Context, tx bun.Tx, c *Claim, old *consumerRow, deltas needs, touched map[string]bool) error {
	held, err := selectAllocations(ctx, tx, old.UUID)
	if err != nil {
		return err
	}
	deltas.add(held, -1, touched)
	if err := deleteAllocations(ctx, tx, old.UUID); err != nil {
		return err
	}
	if len(c.Allocations) == 0 {
		return deleteConsumer(ctx, tx, old.UUID)
	}
	if c.KeepType {
		c.Consumer.Type = old.ConsumerType
	}
	return s.updateConsumer(ctx, tx, &c.Consumer, old.Generation)
}

func (c *Claim) checkGeneration(old *consumerRow) error {
	if !c.CheckGeneration {
		return nil
	}
	switch {
	case old == nil && c.Generation == nil:
		return nil
	case old != nil && c.Generation != nil && *c.Generation == old.Generation:
		return nil
	}
	return concurrentUpdate("consumer generation conflict for " + c.Consumer.UUID)
}

// needs are the changes of the inventories by provider and class.
type needs map[string]map[string]*need

// A need is how used of one inventory moves, and the new amounts that its
// limits apply to.
type need struct {
	delta   int64
	amounts []int64
}

// add enters amounts that are taken (1) or given back (-1) and notes the
// providers.
func (d needs) add(more Allocations, sign int64, touched map[string]bool) {
	for uuid, classes := range more {
		if d[uuid] == nil {
			d[uuid] = map[string]*need{}
		}
		for class, n := range classes {
			e := d[uuid][class]
			if e == nil {
				e = &need{}
				d[uuid][class] = e
			}
			e.delta += sign * n
			if sign > 0 {
				e.amounts = append(e.amounts, n)
			}
		}
		touched[uuid] = true
	}
}

// applyDeltas moves used. Every growth is conditional on its capacity.
func (s *Service) applyDeltas(ctx context.Context, tx bun.Tx, deltas needs) error {
	for _, uuid := range sortedKeys(deltas) {
		claims := map[string]*need{}
		for class, n := range deltas[uuid] {
			if len(n.amounts) > 0 {
				claims[class] = n
			} else if err := releaseUsed(ctx, tx, uuid, class, -n.delta); err != nil {
				return err
			}
		}
		if len(claims) == 0 {
			continue
		}
		n, err := claimUsed(ctx, tx, uuid, claims)
		if err != nil {
			return err
		}
		if n != int64(len(claims)) {
			return whyNot(ctx, tx, uuid, claims)
		}
	}
	return nil
}

// whyNot says what a claim that changed too few rows ran into.
func whyNot(ctx context.Context, tx bun.Tx, uuid string, claims map[string]*need) error {
	row, err := selectProvider(ctx, tx, uuid)
	if err != nil {
		return err
	}
	if row == nil {
		return fault.New(fault.BadRequest, "allocation for resource provider '%s' that does not exist", uuid)
	}
	have, err := selectInventories(ctx, tx, uuid)
	if err != nil {
		return err
	}
	var why []string
	for _, class := range sortedKeys(claims) {
		n, inv := claims[class], have[class]
		switch {
		case inv == nil:
			if err := knownClass(ctx, tx, class); err != nil {
				return fault.New(fault.BadRequest, "no such resource class in allocation: %.80s", class)
			}
			why = append(why, "no inventory of "+class)
		case slices.ContainsFunc(n.amounts, func(a int64) bool { return a < inv.MinUnit || a > inv.MaxUnit || a%inv.StepSize != 0 }):
			why = append(why, "the amount of "+class+" violates min_unit, max_unit or step_size")
		case n.delta > 0 && inv.Used+n.delta > inv.Capacity:
			why = append(why, "the requested amount of "+class+" would exceed the capacity")
		}
	}
	return fault.New(fault.Conflict, "unable to allocate inventory: unable to create allocation on resource provider '%s': %s",
		uuid, strings.Join(why, "; ")).WithCode(CodeUndefined)
}

// touchAllocated moves the generations of the providers on.
func (s *Service) touchAllocated(ctx context.Context, tx bun.Tx, touched map[string]bool) error {
	if len(touched) == 0 {
		return nil
	}
	return touchProviders(ctx, tx, sortedKeys(touched), s.clock.Now())
}

// A Holding is one consumer with what it holds.
type Holding struct {
	Consumer    Consumer
	Allocations Allocations
	// Generations of the providers.
	Generations map[string]int64
}

// Holding returns the allocations of a consumer; none if it does not exist.
// The generation is read first: if the consumer changes in between, a write
// based on this answer is refused.
func (s *Service) Holding(ctx context.Context, consumer string) (*Holding, error) {
	h := &Holding{Allocations: Allocations{}, Generations: map[string]int64{}}
	row, err := selectConsumer(ctx, s.db, consumer)
	if err != nil || row == nil {
		return h, err
	}
	h.Consumer = row.Consumer()
	if h.Allocations, err = selectAllocations(ctx, s.db, consumer); err != nil {
		return nil, err
	}
	h.Generations, err = selectGenerations(ctx, s.db, sortedKeys(h.Allocations))
	return h, err
}

// DeleteAllocations gives everything a consumer holds back. NotFound if it
// holds nothing.
func (s *Service) DeleteAllocations(ctx context.Context, consumer string) error {
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		held, err := selectAllocations(ctx, tx, consumer)
		if err != nil {
			return err
		}
		if len(held) == 0 {
			return fault.New(fault.NotFound, "no allocations for consumer '%s'", consumer)
		}
		deltas, touched := needs{}, map[string]bool{}
		deltas.add(held, -1, touched)
		if err := deleteAllocations(ctx, tx, consumer); err != nil {
			return err
		}
		if err := deleteConsumer(ctx, tx, consumer); err != nil {
			return err
		}
		if err := s.applyDeltas(ctx, tx, deltas); err != nil {
			return err
		}
		return s.touchAllocated(ctx, tx, touched)
	})
}

// ProviderAllocations returns what is held on a provider, by consumer.
func (s *Service) ProviderAllocations(ctx context.Context, uuid string) (*Provider, []Holding, error) {
	p, err := s.Provider(ctx, uuid)
	if err != nil {
		return nil, nil, err
	}
	list, err := selectProviderAllocations(ctx, s.db, uuid)
	slices.SortFunc(list, func(a, b Holding) int { return strings.Compare(a.Consumer.UUID, b.Consumer.UUID) })
	return p, list, err
}

// A UsageFilter selects consumers; UserID and Type may be empty.
type UsageFilter struct {
	ProjectID, UserID string
	Type              string
}

// A Usage is what the consumers of one type use.
type Usage struct {
	Type      string
	Consumers int64
	Resources map[string]int64
}

// Usages sums what a project (and user) uses, by consumer type.
func (s *Service) Usages(ctx context.Context, f UsageFilter) ([]Usage, error) {
	return selectUsages(ctx, s.db, f)
}
