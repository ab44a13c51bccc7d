package nova

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
)

// insertBoot stores a request: quota, servers, actions, the steps so far, the
// operations that will finish them. Either all of it is durable or none.
func (s *Service) insertBoot(ctx context.Context, nb *newBoot) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		first := nb.servers[0]
		if nb.key != "" {
			_, err := tx.NewRaw("INSERT INTO idempotency_keys (project_id, idem_key, request_hash, resource_id, created_at) VALUES (?, ?, ?, ?, ?)",
				first.ProjectID, nb.key, nb.hash, first.ReservationID, first.CreatedAt).Exec(ctx)
			if err != nil {
				return err
			}
		}
		if err := takeServerQuota(ctx, tx, nb); err != nil {
			return err
		}
		nb.ops = nil
		for _, srv := range nb.servers {
			op, err := s.startOp(ctx, tx, kindBoot, srv, srv.Spec.RequestID, "", struct{}{}, true)
			if err != nil {
				return err
			}
			srv.OpID = op.ID
			nb.ops = append(nb.ops, op)
		}
		if _, err := tx.NewInsert().Model(&nb.servers).Exec(ctx); err != nil {
			return err
		}
		if err := insertTags(ctx, tx, nb.servers); err != nil {
			return err
		}
		if err := insertActions(ctx, tx, nb.actions...); err != nil {
			return err
		}
		for i, srv := range nb.servers {
			if err := insertSpans(ctx, tx, srv.ActionID, nb.spans[i], srv.CreatedAt); err != nil {
				return err
			}
		}
		return nil
	})
}

func takeServerQuota(ctx context.Context, tx bun.Tx, nb *newBoot) error {
	n, f := int64(len(nb.servers)), nb.servers[0].Flavor
	owner := nb.servers[0].ProjectID
	for _, want := range []struct {
		resource string
		n        int64
	}{{ResourceInstances, n}, {ResourceCores, n * int64(f.VCPUs)}, {ResourceRAM, n * int64(f.MemoryMB)}} {
		limit := nb.limits[want.resource]
		ok, err := takeQuota(ctx, tx, owner, want.resource, want.n, limit)
		if err != nil {
			return err
		}
		if !ok {
			return overQuota(ctx, tx, owner, want.resource, want.n, limit)
		}
	}
	if nb.group == nil {
		return nil
	}
	members, err := tx.NewSelect().Table("servers").Where("group_id = ? AND deleted_at IS NULL", nb.group.ID).Count(ctx)
	if limit := nb.limits[ResourceGroupMembers]; err == nil && limit >= 0 && int64(members)+n > limit {
		return fault.New(fault.Forbidden, "Quota exceeded, too many servers in group")
	}
	return err
}

func overQuota(ctx context.Context, tx bun.Tx, owner, resource string, want, limit int64) error {
	var used int64
	err := tx.NewRaw("SELECT COALESCE(SUM(in_use), 0) FROM quota_usages WHERE owner_id = ? AND resource = ?", owner, resource).Scan(ctx, &used)
	if err != nil {
		return err
	}
	return fault.New(fault.Forbidden, "Quota exceeded for %s: Requested %d, but already used %d of %d %s", resource, want, used, limit, resource)
}

func insertTags(ctx context.Context, tx bun.IDB, servers []*Server) error {
	type serverTag struct{ ServerID, Tag string }
	var rows []serverTag
	for _, srv := range servers {
		for _, t := range srv.Tags {
			rows = append(rows, serverTag{srv.ID, t})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	_, err := tx.NewInsert().Model(&rows).Exec(ctx)
	return err
}

// requestHash tells whether two requests with one Idempotency-Key are the same.
func requestHash(in *ServerRequest) string {
	same := *in
	same.RequestID = ""
	b, err := json.Marshal(same)
	if err != nil {
		return "" // cannot happen: the struct has only texts, numbers and lists of them
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// repeated returns the servers of the first request with the key, nil if this
// is the first.
func (s *Service) repeated(ctx context.Context, projectID, key, hash string) ([]*Server, error) {
	if len(key) > 255 {
		return nil, fault.New(fault.BadRequest, "Idempotency-Key is longer than 255 bytes")
	}
	var row struct{ RequestHash, ResourceID string }
	err := s.db.NewRaw("SELECT request_hash, resource_id FROM idempotency_keys WHERE project_id = ? AND idem_key = ?", projectID, key).Scan(ctx, &row)
	if db.IsNoRows(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if row.RequestHash != hash {
		return nil, fault.New(fault.BadRequest, "this Idempotency-Key was used for another request")
	}
	var list []*Server
	err = s.db.NewSelect().Model(&list).Where("reservation_id = ? AND project_id = ?", row.ResourceID, projectID).Order("launch_index").Scan(ctx)
	return list, err
}

// Server returns a server whoever owns it: the caller checks its project.
// Deleted ones are NotFound.
func (s *Service) Server(ctx context.Context, id string) (*Server, error) {
	srv, err := s.anyServer(ctx, id)
	if err == nil && !srv.DeletedAt.IsZero() {
		return nil, serverNotFound(id)
	}
	return srv, err
}

// AnyServer is Server for what outlives a server: its actions.
func (s *Service) AnyServer(ctx context.Context, id string) (*Server, error) {
	return s.anyServer(ctx, id)
}

// anyServer finds deleted servers too.
func (s *Service) anyServer(ctx context.Context, id string) (*Server, error) {
	srv := new(Server)
	err := s.db.NewSelect().Model(srv).Where("id = ?", id).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, serverNotFound(id)
	}
	return srv, err
}

// serverInTx reads a server inside a transaction; nil if there is none.
func serverInTx(ctx context.Context, tx bun.Tx, id string) (*Server, error) {
	srv := new(Server)
	err := tx.NewSelect().Model(srv).Where("id = ?", id).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, nil
	}
	return srv, err
}

func serverNotFound(id string) error {
	return fault.New(fault.NotFound, "Instance %s could not be found.", id)
}

// updateServer changes columns of a server that is not deleted. guard is what
// must hold for it, "" for nothing; false means that it does not.
func updateServer(ctx context.Context, tx bun.IDB, id string, now time.Time, set map[string]any, guard string, args ...any) (bool, error) {
	q := tx.NewUpdate().Table("servers").Set("updated_at = ?", now).Where("id = ? AND deleted_at IS NULL", id)
	for col, v := range set {
		q = q.Set("? = ?", bun.Ident(col), v)
	}
	if guard != "" {
		q = q.Where(guard, args...)
	}
	res, err := q.Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// asJSON is a value for a JSON column in updateServer.
func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "null" // only types that marshal are given
	}
	return string(b)
}
