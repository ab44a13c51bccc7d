package placement

import (
	"context"
	"slices"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/fault"
)

// ResourceClasses lists all classes, the standard ones first.
func (s *Service) ResourceClasses(ctx context.Context) ([]string, error) {
	custom, err := selectNames(ctx, s.db, "resource_classes", nil)
	if err != nil {
		return nil, err
	}
	return append(slices.Clone(standardClasses), custom...), nil
}

// ResourceClass returns NotFound unless the class exists.
func (s *Service) ResourceClass(ctx context.Context, name string) error {
	return classOr(ctx, s.db, name, fault.New(fault.NotFound, "no such resource class %.80s", name))
}

// CreateResourceClass adds a custom class and tells whether it is new.
func (s *Service) CreateResourceClass(ctx context.Context, name string) (bool, error) {
	if err := checkCustomName("resource class", name); err != nil {
		return false, err
	}
	return insertName(ctx, s.db, "resource_classes", name)
}

// RenameResourceClass renames a custom class that is not in use.
func (s *Service) RenameResourceClass(ctx context.Context, from, to string) error {
	if err := checkCustomName("resource class", to); err != nil {
		return err
	}
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := removeClass(ctx, tx, from); err != nil {
			return err
		}
		isNew, err := insertName(ctx, tx, "resource_classes", to)
		if err == nil && !isNew {
			err = fault.New(fault.Conflict, "resource class %s already exists", to)
		}
		return err
	})
}

// DeleteResourceClass removes a custom class that no inventory uses.
func (s *Service) DeleteResourceClass(ctx context.Context, name string) error {
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error { return removeClass(ctx, tx, name) })
}

func removeClass(ctx context.Context, tx bun.Tx, name string) error {
	if IsStandardClass(name) {
		return fault.New(fault.BadRequest, "cannot delete or change standard resource class %s", name)
	}
	used, err := countWhere(ctx, tx, "inventories", "resource_class", name)
	if err != nil {
		return err
	}
	if used > 0 {
		return fault.New(fault.Conflict, "cannot delete or change resource class %s: it is in use in inventory", name)
	}
	n, err := deleteName(ctx, tx, "resource_classes", name)
	if err == nil && n == 0 {
		err = fault.New(fault.NotFound, "no such resource class %.80s", name)
	}
	return err
}

// knownClass refuses an inventory of a class that does not exist.
func knownClass(ctx context.Context, tx bun.IDB, name string) error {
	return classOr(ctx, tx, name, fault.New(fault.BadRequest, "unknown resource class %.80s in inventory", name))
}

func classOr(ctx context.Context, tx bun.IDB, name string, otherwise error) error {
	if IsStandardClass(name) {
		return nil
	}
	found, err := selectNames(ctx, tx, "resource_classes", []string{name})
	if err == nil && len(found) == 0 {
		err = otherwise
	}
	return err
}
