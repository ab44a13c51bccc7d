package neutron

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/uptrace/bun"
)

// A change collects what a transaction touched that agents must learn of.
type change struct {
	networks, ports, routers, groups []string
	all                              bool // more than it pays to name
	revision                         int64
	novaEvents                       bool
	// readdressed are ports whose floating addresses changed: Nova shows them
	// with their server.
	readdressed []string
}

func (c *change) empty() bool {
	return !c.all && len(c.networks)+len(c.ports)+len(c.routers)+len(c.groups) == 0
}

// errStale says that a row changed between its reading and its compare-and-set.
var errStale = errors.New("row was changed by others")

// staleRetries bounds how often a transaction that met errStale is repeated.
const staleRetries = 20

// mutate runs fn in one transaction. When fn notes a change, the state's
// revision is raised last, and agents are told after the commit. fn may run
// more than once and begins with an empty change each time.
func (s *Service) mutate(ctx context.Context, fn func(ctx context.Context, tx bun.Tx, ch *change) error) error {
	err := errStale
	for i := 0; i < staleRetries && errors.Is(err, errStale); i++ {
		err = s.mutateOnce(ctx, fn)
	}
	if errors.Is(err, errStale) {
		return conflict(codeConflict, "The resource is being changed by others, try again")
	}
	return err
}

func (s *Service) mutateOnce(ctx context.Context, fn func(ctx context.Context, tx bun.Tx, ch *change) error) error {
	var ch change
	err := s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		ch = change{}
		if err := fn(ctx, tx, &ch); err != nil {
			return err
		}
		if err := s.noteReaddressed(ctx, tx, &ch); err != nil {
			return err
		}
		if ch.empty() {
			return nil
		}
		if _, err := tx.ExecContext(ctx, "UPDATE state_revision SET revision = revision + 1 WHERE id = 1"); err != nil {
			return fmt.Errorf("raise revision: %w", err)
		}
		var err error
		ch.revision, err = s.revision(ctx, tx)
		return err
	})
	if err != nil {
		return err
	}
	if !ch.empty() {
		s.notifier.add(&ch)
	}
	if ch.novaEvents {
		s.wakeNova()
	}
	return nil
}

func (s *Service) revision(ctx context.Context, idb bun.IDB) (int64, error) {
	var rev int64
	if err := idb.QueryRowContext(ctx, "SELECT revision FROM state_revision WHERE id = 1").Scan(&rev); err != nil {
		return 0, fmt.Errorf("read revision: %w", err)
	}
	return rev, nil
}

// isForeignKey tells that a row was added for a parent that is gone, or that a
// parent was deleted that still has rows.
func isForeignKey(err error) bool {
	return err != nil && strings.Contains(strings.ToUpper(err.Error()), "FOREIGN KEY")
}

// exec runs one statement and returns the number of rows that it matched.
func exec(ctx context.Context, idb bun.IDB, query string, args ...any) (int64, error) {
	res, err := idb.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// insert adds rows of one model; rows must not be empty.
func insert(ctx context.Context, idb bun.IDB, rows any) error {
	_, err := idb.NewInsert().Model(rows).Exec(ctx)
	return err
}

// removeRow deletes a row by its id; one that is gone already is missing.
func removeRow(ctx context.Context, tx bun.Tx, table, id string, missing func(id string) error) error {
	n, err := exec(ctx, tx, "DELETE FROM ? WHERE id = ?", bun.Ident(table), id)
	if err == nil && n == 0 {
		return missing(id)
	}
	return err
}
