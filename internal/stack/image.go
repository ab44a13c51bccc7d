package stack

import (
	"context"

	"github.com/hastack/hastack/internal/glance"
	"github.com/hastack/hastack/internal/glance/glanceapi"
	"github.com/hastack/hastack/internal/lifecycle"
	"github.com/hastack/hastack/internal/policy"
)

func buildGlance(ctx context.Context, s *Stack) error {
	d, err := s.open(ctx, "glance", schema("glance")...)
	if err != nil {
		return err
	}
	svc, err := glance.New(glance.Config{Dir: s.cfg.Path("glance")}, glance.Deps{DB: d, Log: s.log})
	if err != nil {
		return err
	}
	rules, err := policy.New(glance.Rules(), nil)
	if err != nil {
		return err
	}
	s.mount("image", glanceapi.New(svc, glanceapi.Config{
		PublicURL: s.cfg.Endpoints["image"], AuthURL: s.cfg.AuthURL(), Auth: s.auth("glance"), Policy: rules,
		Log: s.log, Metrics: s.metrics,
	}))
	s.authenticates("glance")
	s.parts = append(s.parts, lifecycle.Part{
		Name: "glance", Run: svc.Run,
		Stop: func(context.Context) error { return svc.Close() },
	})
	return nil
}
