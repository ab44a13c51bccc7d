package nova

import (
	"context"

	"github.com/uptrace/bun"
)

func (s *Service) updateWithAction(ctx context.Context, id string, set map[string]any, guard string, a *Action) (ok bool, err error) {
	err = s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var err error
		if ok, err = updateServer(ctx, tx, id, a.StartTime, set, guard); err != nil || !ok {
			return err
		}
		return insertActions(ctx, tx, a)
	})
	return ok, err
}

// casTags replaces the tags if they are what the caller saw.
func (s *Service) casTags(ctx context.Context, srv *Server, tags []string) (ok bool, err error) {
	if tags == nil {
		tags = []string{}
	}
	err = s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var err error
		ok, err = updateServer(ctx, tx, srv.ID, s.clock.Now(), map[string]any{"tags": asJSON(tags)}, "tags = ?", asJSON(srv.Tags))
		if err != nil || !ok {
			return err
		}
		if _, err := tx.NewDelete().Table("server_tags").Where("server_id = ?", srv.ID).Exec(ctx); err != nil {
			return err
		}
		return insertTags(ctx, tx, []*Server{{ID: srv.ID, Tags: tags}})
	})
	return ok, err
}
