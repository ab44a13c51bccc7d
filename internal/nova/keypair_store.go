package nova

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
)

func (s *Service) insertKeypair(ctx context.Context, kp *Keypair) error {
	limit, err := s.limit(ctx, "", "", ResourceKeyPairs)
	if err != nil {
		return err
	}
	err = s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		ok, err := takeQuota(ctx, tx, kp.UserID, ResourceKeyPairs, 1, limit)
		if err != nil {
			return err
		}
		if !ok {
			return fault.New(fault.Forbidden, "Quota exceeded, too many key pairs.")
		}
		if kp.Seq, err = nextSeq(ctx, tx, "keypairs"); err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(kp).Exec(ctx)
		return err
	})
	if db.IsDuplicate(err) {
		return fault.New(fault.Conflict, "Key pair '%s' already exists.", kp.Name)
	}
	return err
}

// Keypair returns the user's key pair of that name.
func (s *Service) Keypair(ctx context.Context, userID, name string) (*Keypair, error) {
	kp := new(Keypair)
	err := s.db.NewSelect().Model(kp).Where("user_id = ? AND name = ?", userID, name).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, keypairNotFound(name, userID)
	}
	return kp, err
}

// Keypairs lists the user's key pairs by name, from behind marker; limit 0
// means all.
func (s *Service) Keypairs(ctx context.Context, userID, marker string, limit int) ([]Keypair, error) {
	if marker != "" {
		if _, err := s.Keypair(ctx, userID, marker); err != nil {
			return nil, fault.New(fault.BadRequest, "marker [%s] not found", marker)
		}
	}
	var list []Keypair
	q := s.db.NewSelect().Model(&list).Where("user_id = ? AND name > ?", userID, marker).Order("name")
	if limit > 0 {
		q = q.Limit(int64(limit))
	}
	return list, q.Scan(ctx)
}

// DeleteKeypair removes a key pair; servers keep the key they were given.
func (s *Service) DeleteKeypair(ctx context.Context, userID, name string) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		res, err := tx.NewRaw("DELETE FROM keypairs WHERE user_id = ? AND name = ?", userID, name).Exec(ctx)
		if err != nil {
			return err
		}
		if n, _ := res.RowsAffected(); n == 0 {
			return keypairNotFound(name, userID)
		}
		return returnQuota(ctx, tx, userID, ResourceKeyPairs, 1)
	})
}
