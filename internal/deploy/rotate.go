package deploy

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
)

// RotateKeys makes the staged token key of all Keystones primary and stages a
// new one. Tokens that were issued before stay valid for as long as they live.
//
// First every control server must have the staged key: a token that one server
// makes with it the others can then open, in whatever order they get the new
// set. Cut off at any moment it can be run again; what one run has not brought
// everywhere, the next one brings before it rotates.
func RotateKeys(ctx context.Context, c *Context) error {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	part := []*Part{keysPart()}
	if _, err := Deploy(ctx, c, part); err != nil {
		return fmt.Errorf("nothing was rotated, for every control server must have the staged key before: %w", err)
	}
	if err := keyDir(filepath.Join(c.Cluster.Path, fernetKeys)).rotate(c.Clock.Now()); err != nil {
		return err
	}
	if _, err := Deploy(ctx, c, part); err != nil {
		return fmt.Errorf("the new keys are not on every control server yet; tokens are valid everywhere all the same; run it again: %w", err)
	}
	return nil
}

// certified are the parts whose files hold certificates.
var certified = [...]string{"certificates", "galera", "rabbitmq", "node", "haproxy", "monitoring", "logs"}

// RotateCertificates issues new certificates and keys for every server and the
// operator, and brings them to the parts that use them, one member of a quorum
// after another. Hastack's own processes take them up without a restart.
func RotateCertificates(ctx context.Context, c *Context) error {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.Cluster.RenewCertificates(); err != nil {
		return err
	}
	var parts []*Part
	for _, p := range Parts() {
		if slices.Contains(certified[:], p.Name) {
			parts = append(parts, p)
		}
	}
	if _, err := Deploy(ctx, c, parts); err != nil {
		return fmt.Errorf("new certificates are not everywhere yet, old ones still serve: run hastack deploy: %w", err)
	}
	return nil
}
