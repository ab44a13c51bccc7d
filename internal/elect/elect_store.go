package elect

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

// try takes the lease if nobody has it; nil if somebody does.
func (c *Candidate) try(ctx context.Context) (*Term, error) {
	now := c.cfg.Clock.Now()
	old := new(lease)
	err := c.cfg.DB.NewSelect().Model(old).Where("name = ?", c.cfg.Name).Scan(ctx)
	if db.IsNoRows(err) {
		first := &lease{Name: c.cfg.Name, Holder: c.holder, Token: 1, ExpiresAt: now.Add(c.cfg.Lease)}
		_, err := c.cfg.DB.NewInsert().Model(first).Exec(ctx)
		if db.IsDuplicate(err) {
			return nil, nil // another was first
		}
		if err != nil {
			return nil, err
		}
		return c.term(1, now), nil
	}
	if err != nil {
		return nil, err
	}
	if now.Before(old.ExpiresAt.Add(c.Skew())) {
		return nil, nil
	}
	res, err := c.cfg.DB.NewUpdate().Model((*lease)(nil)).
		Set("holder = ?, token = token + 1, expires_at = ?", c.holder, now.Add(c.cfg.Lease)).
		Where("name = ? AND token = ? AND expires_at = ?", c.cfg.Name, old.Token, old.ExpiresAt).Exec(ctx)
	if err != nil {
		return nil, err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return nil, err
	}
	return c.term(old.Token+1, now), nil
}

func (c *Candidate) term(token int64, now time.Time) *Term {
	return &Term{Token: token, c: c, until: now.Add(c.cfg.Lease - c.Skew())}
}

// prolong gives the term another lease from now; false if it is over.
func (c *Candidate) prolong(ctx context.Context, t *Term, now time.Time) (bool, error) {
	n, err := c.extend(ctx, c.cfg.DB, t, now)
	return n == 1, err
}

// extend moves the end of the term. A term that has run out stays lost even if
// nobody has taken the lease since: its leader was told so.
func (c *Candidate) extend(ctx context.Context, q bun.IDB, t *Term, now time.Time) (int64, error) {
	res, err := q.NewUpdate().Model((*lease)(nil)).Set("expires_at = ?", now.Add(c.cfg.Lease)).
		Where("name = ? AND holder = ? AND token = ? AND expires_at > ?", c.cfg.Name, c.holder, t.Token, now).Exec(ctx)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// resign lets the next one in without waiting for the lease to run out.
func (c *Candidate) resign(ctx context.Context, t *Term) error {
	_, err := c.cfg.DB.NewUpdate().Model((*lease)(nil)).
		Set("holder = '', expires_at = ?", c.cfg.Clock.Now().Add(-2*c.cfg.Lease)).
		Where("name = ? AND holder = ? AND token = ?", c.cfg.Name, c.holder, t.Token).Exec(ctx)
	return err
}

// Leader tells who has the lease of a name now, "" if nobody.
func Leader(ctx context.Context, d *db.DB, name string, now time.Time) (string, error) {
	l := new(lease)
	err := d.NewSelect().Model(l).Where("name = ?", name).Scan(ctx)
	if db.IsNoRows(err) || err == nil && !now.Before(l.ExpiresAt) {
		return "", nil
	}
	return l.Holder, err
}
