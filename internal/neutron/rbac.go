package neutron

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/ids"
)

// The actions that an RBAC policy may allow on a network.
const (
	actionShared   = "access_as_shared"
	actionExternal = "access_as_external"
)

// An RBACPolicy opens a network to another project, or to all with "*".
type RBACPolicy struct {
	bun.BaseModel `bun:"table:rbac_policies"`

	ID            string `bun:"id,pk"`
	ProjectID     string `bun:"project_id"`
	ObjectType    string `bun:"object_type"`
	ObjectID      string `bun:"object_id"`
	Action        string `bun:"action"`
	TargetProject string `bun:"target_project"`
}

// CreateRBACPolicy opens a network of the caller.
func (s *Service) CreateRBACPolicy(ctx context.Context, c Caller, p *RBACPolicy) error {
	if p.ObjectType != "network" {
		return badRequest(codeBadRequest, "Invalid input for object_type. Reason: '%s' is not in ['network'].", p.ObjectType)
	}
	if p.Action != actionShared && p.Action != actionExternal {
		return badRequest(codeBadRequest, "Invalid input for action. Reason: Invalid action '%s' for object type 'network'. Valid actions: %s, %s.",
			p.Action, actionExternal, actionShared)
	}
	p.ID = ids.UUID()
	return s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		n, err := s.network(ctx, tx, c, p.ObjectID)
		if err != nil {
			return err
		}
		if !c.Admin && n.ProjectID != c.ProjectID {
			return networkNotFound(p.ObjectID)
		}
		if err := s.reserve(ctx, tx, p.ProjectID, quotaRBAC, 1); err != nil {
			return err
		}
		err = insert(ctx, tx, p)
		if db.IsDuplicate(err) {
			return conflict("DuplicateRbacPolicy", "An RBAC policy already exists with those values.")
		}
		if err != nil || p.Action != actionExternal || n.External {
			return err
		}
		n.External = true
		ch.networks = append(ch.networks, n.ID)
		return s.casNetwork(ctx, tx, n)
	})
}

// RBACPolicy returns a policy of the caller's project.
func (s *Service) RBACPolicy(ctx context.Context, c Caller, id string) (*RBACPolicy, error) {
	return s.rbacPolicy(ctx, s.db, c, id)
}

// RBACPolicies lists the policies of the caller's project.
func (s *Service) RBACPolicies(ctx context.Context, c Caller, q Query) ([]*RBACPolicy, error) {
	return s.rbacPolicies(ctx, c, q)
}

// UpdateRBACPolicy points a policy at another project, unless the one it is
// taken from still uses the network.
func (s *Service) UpdateRBACPolicy(ctx context.Context, c Caller, id, target string) (*RBACPolicy, error) {
	var out *RBACPolicy
	err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		p, err := s.rbacPolicy(ctx, tx, c, id)
		if err != nil {
			return err
		}
		if target != "*" && target != p.TargetProject {
			if err := s.checkPolicyUnused(ctx, tx, p); err != nil {
				return err
			}
		}
		p.TargetProject = target
		out = p
		err = retarget(ctx, tx, id, target)
		if db.IsDuplicate(err) {
			return conflict("DuplicateRbacPolicy", "An RBAC policy already exists with those values.")
		}
		return err
	})
	return out, err
}

// DeleteRBACPolicy closes a network again, unless the project it was opened to
// still uses it.
func (s *Service) DeleteRBACPolicy(ctx context.Context, c Caller, id string) error {
	return s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		p, err := s.rbacPolicy(ctx, tx, c, id)
		if err != nil {
			return err
		}
		if err := s.checkPolicyUnused(ctx, tx, p); err != nil {
			return err
		}
		if err := removeRow(ctx, tx, "rbac_policies", id, rbacPolicyNotFound); err != nil {
			return err
		}
		return release(ctx, tx, p.ProjectID, quotaRBAC)
	})
}

func (s *Service) checkPolicyUnused(ctx context.Context, tx bun.Tx, p *RBACPolicy) error {
	if p.Action != actionShared {
		return nil
	}
	n, err := s.network(ctx, tx, internal, p.ObjectID)
	if err != nil {
		return nil //nolint:nilerr // a network that is gone has no users
	}
	return s.checkUnshare(ctx, tx, n, p.TargetProject)
}

// checkUnshare refuses to take a shared network from a project (or, with "*",
// from all that have no policy of their own) that has ports or subnets on it.
func (s *Service) checkUnshare(ctx context.Context, tx bun.Tx, n *Network, target string) error {
	for _, table := range []string{"ports", "subnets"} {
		used, err := usedByOthers(ctx, tx, n, table, target)
		if err != nil {
			return err
		}
		if used {
			return conflict("InvalidSharedSetting",
				"Unable to reconfigure sharing settings for network %s. Multiple tenants are using it.", n.ID)
		}
	}
	return nil
}
