package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/go-sql-driver/mysql"
)

// A witness knows the server that a pool works with. After a change of the
// writer the new one may still have to apply what the old one acknowledged, so
// the first connection to it waits for that. While one that has waited is
// alive the server has been the writer all the time, as the load balancer ends
// the connections to one that is no more: further connections to it need not
// wait. They must not, or a pool that grows while commits stall, since another
// member of the cluster has died, would make its readers stall too.
type witness struct {
	mu     sync.Mutex
	server string
	alive  int    // connections to it that are not known to have failed
	term   uint64 // counts servers and losses
}

// vouches tells whether a connection that has waited is alive to the server.
func (w *witness) vouches(server string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.alive > 0 && w.server == server
}

// opened counts a connection that saw everything, or was vouched for. What it
// returns is what closed and failed want.
func (w *witness) opened(server string) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.alive == 0 || w.server != server {
		w.server, w.alive = server, 0
		w.term++
	}
	w.alive++
	return w.term
}

// closed is of a connection that ended well.
func (w *witness) closed(term uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if term == w.term && w.alive > 0 {
		w.alive--
	}
}

// failed is of one that did not: those beside it may be dead too, so none of
// them vouches any more.
func (w *witness) failed(term uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if term == w.term {
		w.alive = 0
		w.term++
	}
}

// settle refuses a server that acknowledges what it has not written, and waits
// for what other servers have committed unless the witness vouches for it.
func (w *witness) settle(ctx context.Context, raw rawConn) (term uint64, err error) {
	row, err := oneRow(ctx, raw, "SELECT CONCAT(@@GLOBAL.innodb_flush_log_at_trx_commit, ' ', @@GLOBAL.hostname, ' ', @@GLOBAL.port)")
	if err != nil {
		return 0, err
	}
	flush, server, _ := strings.Cut(text(row), " ")
	if flush != "1" {
		return 0, fmt.Errorf("the server runs with innodb_flush_log_at_trx_commit=%s and would lose acknowledged writes: set it to 1", flush)
	}
	if !w.vouches(server) {
		if err := catchUp(ctx, raw); err != nil {
			return 0, err
		}
	}
	return w.opened(server), nil
}

// catchUp waits until the server has all that its cluster has committed.
func catchUp(ctx context.Context, raw rawConn) error {
	if _, err := raw.ExecContext(ctx, "SET SESSION wsrep_sync_wait=1", nil); err != nil {
		if e, ok := errors.AsType[*mysql.MySQLError](err); ok && e.Number == myUnknownVariable {
			return nil // MySQL
		}
		return err
	}
	if _, err := oneRow(ctx, raw, "SELECT 1"); err != nil {
		return err
	}
	_, err := raw.ExecContext(ctx, "SET SESSION wsrep_sync_wait=0", nil)
	return err
}

// oneRow is the first column of the first row of a query.
func oneRow(ctx context.Context, raw rawConn, query string) (driver.Value, error) {
	rows, err := raw.QueryContext(ctx, query, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	row := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(row); err != nil {
		return nil, err
	}
	return row[0], nil
}

func text(v driver.Value) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return fmt.Sprint(v)
}
