package neutron

import (
	"context"

	"github.com/uptrace/bun"
)

// casTags writes the tags of a resource if nobody changed it meanwhile.
func (s *Service) casTags(ctx context.Context, tx bun.Tx, kind Kind, std *Standard, tags Lines) error {
	n, err := exec(ctx, tx, "UPDATE ? SET tags = ?, revision_number = revision_number + 1, updated_at = ? WHERE id = ? AND revision_number = ?",
		bun.Ident(kind.table()), tags, s.clock.Now(), std.ID, std.RevisionNumber)
	if err == nil && n == 0 {
		return errStale
	}
	return err
}
