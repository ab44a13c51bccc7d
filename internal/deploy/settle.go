package deploy

import (
	"context"
	"errors"

	"github.com/hastack/hastack/internal/topology"
)

// Settle does the default handling of units on one server for a part's Start:
// what changes asks for, in the order command, enable, restart, reload, start.
// It is idempotent.
func (c *Context) Settle(ctx context.Context, s *topology.Server, changes []Change) error {
	return errors.ErrUnsupported
}
