package keystone

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/fault"
)

// A BootstrapService is one service of the catalog. An empty internal or admin
// URL is the public one.
type BootstrapService struct {
	Type, Name, Description          string
	PublicURL, InternalURL, AdminURL string
}

// BootstrapConfig is what a new cloud starts with.
type BootstrapConfig struct {
	// AdminPassword is the password of user admin when it is made; that of an
	// existing one is left alone.
	AdminPassword config.Secret
	Region        string
	Services      []BootstrapService
	// ServiceUsers are users of project service by name. Their passwords must
	// be random, at least 128 bits: they are hashed fast. A changed password is
	// stored.
	ServiceUsers map[string]config.Secret
}

// roleChain are the default roles, each implying the next.
var roleChain = []string{"admin", "manager", "member", "reader"}

// Bootstrap makes whatever of the default domain, projects, users, roles and
// catalog is missing. It can be repeated, and several nodes may do it at once.
func (s *Service) Bootstrap(ctx context.Context, cfg BootstrapConfig) error {
	if err := s.bootDomain(ctx); err != nil {
		return fmt.Errorf("bootstrap domain: %w", err)
	}
	roles, err := s.bootRoles(ctx)
	if err != nil {
		return fmt.Errorf("bootstrap roles: %w", err)
	}
	if err := s.bootAdmin(ctx, cfg.AdminPassword, roles); err != nil {
		return fmt.Errorf("bootstrap admin: %w", err)
	}
	if err := s.bootServiceUsers(ctx, cfg.ServiceUsers, roles); err != nil {
		return fmt.Errorf("bootstrap service users: %w", err)
	}
	if err := s.bootCatalog(ctx, cfg); err != nil {
		return fmt.Errorf("bootstrap catalog: %w", err)
	}
	return nil
}

// lost tells that another node made the same thing a moment earlier.
func lost(err error) bool { return fault.Is(err, fault.Conflict) }

func (s *Service) bootDomain(ctx context.Context) error {
	_, err := s.selectDomain(ctx, DefaultDomain)
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	err = s.CreateDomain(ctx, &Domain{ID: DefaultDomain, Name: "Default", Description: "The default domain", Enabled: true})
	if lost(err) {
		return nil
	}
	return err
}

func (s *Service) bootRoles(ctx context.Context) (map[string]string, error) {
	byName := map[string]string{}
	for range 2 {
		have, err := s.Roles(ctx, Filter{})
		if err != nil {
			return nil, err
		}
		for _, r := range have {
			byName[r.Name] = r.ID
		}
		for _, name := range append([]string{"service"}, roleChain...) {
			if byName[name] != "" {
				continue
			}
			r := &Role{Name: name}
			if err := s.CreateRole(ctx, r); lost(err) {
				continue // the second round finds it
			} else if err != nil {
				return nil, err
			}
			byName[name] = r.ID
		}
	}
	snap, err := s.view(ctx)
	if err != nil {
		return nil, err
	}
	for i, prior := range roleChain[:len(roleChain)-1] {
		from, to := byName[prior], byName[roleChain[i+1]]
		if slices.Contains(snap.implied[from], to) {
			continue
		}
		if err := s.CreateImpliedRole(ctx, from, to); err != nil {
			return nil, err
		}
	}
	return byName, nil
}

func (s *Service) bootProject(ctx context.Context, name, description string) (*Project, error) {
	p, err := s.selectProjectByName(ctx, DefaultDomain, name)
	if !fault.Is(err, fault.NotFound) {
		return p, err
	}
	p = &Project{DomainID: DefaultDomain, Name: name, Description: description, Enabled: true}
	if err := s.CreateProject(ctx, p); lost(err) {
		return s.selectProjectByName(ctx, DefaultDomain, name)
	} else if err != nil {
		return nil, err
	}
	return p, nil
}

func (s *Service) bootUser(ctx context.Context, name string, password func(*User) error) (*User, error) {
	u, err := s.selectUserByName(ctx, DefaultDomain, name)
	if !fault.Is(err, fault.NotFound) {
		return u, err
	}
	u = &User{DomainID: DefaultDomain, Name: name, Enabled: true}
	if err := password(u); err != nil {
		return nil, err
	}
	if err := s.CreateUser(ctx, u, nil); lost(err) {
		return s.selectUserByName(ctx, DefaultDomain, name)
	} else if err != nil {
		return nil, err
	}
	return u, nil
}

// bootGrants makes the assignments that are missing: granting again what is
// there would raise the revision for nothing.
func (s *Service) bootGrants(ctx context.Context, userID string, want ...Assignment) error {
	have, err := s.selectAssignments(ctx, AssignmentFilter{ActorKind: ActorUser, ActorID: userID})
	if err != nil {
		return err
	}
	for _, a := range want {
		a.ActorKind, a.ActorID = ActorUser, userID
		if a = systemTarget(a); slices.Contains(have, a) {
			continue
		}
		if err := s.Grant(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) bootAdmin(ctx context.Context, password config.Secret, roles map[string]string) error {
	p, err := s.bootProject(ctx, "admin", "Bootstrap project for initializing the cloud.")
	if err != nil {
		return err
	}
	u, err := s.bootUser(ctx, "admin", func(u *User) error { return s.setPassword(ctx, u, &password) })
	if err != nil {
		return err
	}
	return s.bootGrants(ctx, u.ID,
		Assignment{TargetKind: TargetProject, TargetID: p.ID, RoleID: roles["admin"]},
		Assignment{TargetKind: TargetSystem, RoleID: roles["admin"]})
}

func (s *Service) bootServiceUsers(ctx context.Context, users map[string]config.Secret, roles map[string]string) error {
	p, err := s.bootProject(ctx, "service", "Users of the services.")
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(users)) {
		password := users[name]
		set := func(u *User) (err error) {
			u.PasswordHash, err = s.hasher.hashSecret(ctx, password.Reveal())
			u.PasswordChangedAt = s.clock.Now()
			return err
		}
		u, err := s.bootUser(ctx, name, set)
		if err != nil {
			return err
		}
		if right, err := s.hasher.verify(ctx, u.PasswordHash, password.Reveal()); err != nil {
			return err
		} else if !right {
			if err := set(u); err != nil {
				return err
			}
			if err := s.updateUser(ctx, u, []string{"password_hash", "password_changed_at"}, true); err != nil {
				return err
			}
		}
		if err := s.bootGrants(ctx, u.ID,
			Assignment{TargetKind: TargetProject, TargetID: p.ID, RoleID: roles["admin"]},
			Assignment{TargetKind: TargetProject, TargetID: p.ID, RoleID: roles["service"]}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) bootCatalog(ctx context.Context, cfg BootstrapConfig) error {
	if cfg.Region != "" {
		_, err := s.selectRegion(ctx, cfg.Region)
		if fault.Is(err, fault.NotFound) {
			err = s.CreateRegion(ctx, &Region{ID: cfg.Region})
		}
		if err != nil && !lost(err) {
			return err
		}
	}
	for _, want := range cfg.Services {
		if err := s.bootService(ctx, cfg.Region, want); err != nil {
			return fmt.Errorf("service %s: %w", want.Type, err)
		}
	}
	return nil
}

func (s *Service) bootService(ctx context.Context, region string, want BootstrapService) error {
	have, err := s.selectCatalogServices(ctx, By("type", want.Type).With("name", want.Name))
	if err != nil {
		return err
	}
	var c CatalogService
	if len(have) > 0 {
		c = have[0]
	} else {
		c = CatalogService{ID: bootID("service", want.Type, want.Name), Type: want.Type, Name: want.Name,
			Description: &want.Description, Enabled: true}
		if err := s.insertCatalogService(ctx, &c); err != nil && !lost(err) {
			return err
		}
	}
	endpoints, err := s.selectEndpoints(ctx, By("service_id", c.ID))
	if err != nil {
		return err
	}
	urls := map[string]string{"public": want.PublicURL, "internal": want.InternalURL, "admin": want.AdminURL}
	for _, face := range []string{"public", "internal", "admin"} {
		u := urls[face]
		if u == "" {
			u = want.PublicURL
		}
		i := slices.IndexFunc(endpoints, func(e Endpoint) bool { return e.Interface == face && e.RegionID == region })
		if i < 0 {
			err = s.bootEndpoint(ctx, &Endpoint{ID: bootID("endpoint", c.ID, region, face),
				ServiceID: c.ID, RegionID: region, Interface: face, URL: u, Enabled: true})
		} else if endpoints[i].URL != u {
			_, err = s.UpdateEndpoint(ctx, endpoints[i].ID, EndpointUpdate{URL: &u})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) bootEndpoint(ctx context.Context, e *Endpoint) error {
	if err := checkEndpoint(e); err != nil {
		return err
	}
	if err := s.insertEndpoint(ctx, e); !lost(err) {
		return err
	}
	return nil
}

// bootID is the id of a catalog entry that bootstrap makes. The same entry has
// the same id on every node: of several that make it at once one wins, and no
// client ever sees it twice.
func bootID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}
