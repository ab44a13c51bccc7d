package keystone

import "context"

func (s *Service) insertCredential(ctx context.Context, c *Credential) error {
	return insert(ctx, s.db, c, "credential", c.ID)
}

func (s *Service) selectCredential(ctx context.Context, id string) (*Credential, error) {
	c := new(Credential)
	return c, findOne(ctx, s.db, c, "credential", id)
}

func (s *Service) selectCredentials(ctx context.Context, f Filter) ([]Credential, error) {
	return list[Credential](ctx, s.db, credColumns, f)
}

func (s *Service) updateCredential(ctx context.Context, c *Credential, cols []string) error {
	return update(ctx, s.db, c, "credential", c.ID, c.ID, cols...)
}

func (s *Service) deleteCredential(ctx context.Context, id string) error {
	return remove(ctx, s.db, (*Credential)(nil), "credential", id)
}
