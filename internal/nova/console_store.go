package nova

import "context"

func (s *Service) insertConsoleToken(ctx context.Context, t *consoleToken) error {
	_, err := s.db.NewInsert().Model(t).Exec(ctx)
	return err
}

func (s *Service) consoleToken(ctx context.Context, token string) (*consoleToken, error) {
	t := new(consoleToken)
	return t, s.db.NewSelect().Model(t).Where("token_hash = ?", hashToken(token)).Scan(ctx)
}
