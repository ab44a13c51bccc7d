package nova

import (
	"context"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/ids"
)

// A ServerChange is a PUT /servers/{id}; fields that are not set stay.
type ServerChange struct {
	Name, Hostname, DiskConfig          string
	Description, AccessIPv4, AccessIPv6 httpapi.Nullable[string]
}

// columns checks the change and adds it to set.
func (c *ServerChange) columns(set map[string]any) error {
	if c.Name != "" {
		if err := checkName("server name", c.Name); err != nil {
			return err
		}
		set["name"] = c.Name
	}
	if c.Hostname != "" {
		if len(c.Hostname) > 63 || !hostnameForm.MatchString(c.Hostname) {
			return fault.New(fault.BadRequest, "invalid input for field/attribute hostname: %q is not a host name", c.Hostname)
		}
		set["hostname"] = c.Hostname
	}
	if c.DiskConfig != "" {
		if c.DiskConfig != "AUTO" && c.DiskConfig != "MANUAL" {
			return fault.New(fault.BadRequest, "invalid input for field/attribute OS-DCF:diskConfig: %q", c.DiskConfig)
		}
		set["disk_config"] = c.DiskConfig
	}
	if c.Description.Set {
		if utf8.RuneCountInString(c.Description.Value) > 255 {
			return fault.New(fault.BadRequest, "invalid input for field/attribute description: it is longer than 255 characters")
		}
		set["description"] = nullable(c.Description.Value)
	}
	if err := checkAccessIPs(c.AccessIPv4.Value, c.AccessIPv6.Value); err != nil {
		return err
	}
	if c.AccessIPv4.Set {
		set["access_ip_v4"] = nullable(c.AccessIPv4.Value)
	}
	if c.AccessIPv6.Set {
		set["access_ip_v6"] = nullable(c.AccessIPv6.Value)
	}
	return nil
}

// UpdateServer changes what a user may change of a server at any time.
func (s *Service) UpdateServer(ctx context.Context, srv *Server, c ServerChange) (*Server, error) {
	set := map[string]any{}
	if err := c.columns(set); err != nil {
		return nil, err
	}
	if len(set) > 0 {
		if ok, err := updateServer(ctx, s.db, srv.ID, s.clock.Now(), set, ""); err != nil || !ok {
			return nil, orNotFound(err, srv.ID)
		}
	}
	return s.Server(ctx, srv.ID)
}

func orNotFound(err error, id string) error {
	if err == nil {
		return serverNotFound(id)
	}
	return err
}

func (s *Service) checkMetadataQuota(ctx context.Context, projectID string, m map[string]string) error {
	if err := checkMetadata(m); err != nil {
		return err
	}
	n, err := s.limit(ctx, projectID, "", ResourceMetadata)
	if err == nil && n >= 0 && int64(len(m)) > n {
		return fault.New(fault.Forbidden, "Maximum number of metadata items exceeds %d", n)
	}
	return err
}

// SetMetadata changes a server's metadata by change, which gets a copy to write
// on, and returns what it is then.
func (s *Service) SetMetadata(ctx context.Context, r ActionRequest, change func(map[string]string) error) (map[string]string, error) {
	if err := checkLock(r.Server, r.OverrideLock); err != nil {
		return nil, err
	}
	srv := r.Server
	for range casTries {
		m := map[string]string{}
		maps.Copy(m, srv.Metadata)
		if err := change(m); err != nil {
			return nil, err
		}
		if err := s.checkMetadataQuota(ctx, srv.ProjectID, m); err != nil {
			return nil, err
		}
		ok, err := updateServer(ctx, s.db, srv.ID, s.clock.Now(), map[string]any{"metadata": asJSON(m)}, "metadata = ?", asJSON(srv.Metadata))
		if err != nil {
			return nil, err
		}
		if ok {
			return m, nil
		}
		if srv, err = s.Server(ctx, srv.ID); err != nil {
			return nil, err
		}
	}
	return nil, fault.New(fault.Conflict, "the metadata of instance %s is being changed by others", srv.ID)
}

// SetTags changes a server's tags by change, which gets a copy to write on.
func (s *Service) SetTags(ctx context.Context, srv *Server, change func([]string) ([]string, error)) ([]string, error) {
	for range casTries {
		if srv.VMState != Active && srv.VMState != Stopped && srv.VMState != Paused && srv.VMState != Suspended {
			return nil, fault.New(fault.Conflict, "Cannot 'update tags' instance %s while it is in vm_state %s", srv.ID, srv.VMState)
		}
		tags, err := change(slices.Clone(srv.Tags))
		if err != nil {
			return nil, err
		}
		if tags, err = checkTags(tags); err != nil {
			return nil, err
		}
		ok, err := s.casTags(ctx, srv, tags)
		if err != nil || ok {
			return tags, err
		}
		if srv, err = s.Server(ctx, srv.ID); err != nil {
			return nil, err
		}
	}
	return nil, fault.New(fault.Conflict, "the tags of instance %s are being changed by others", srv.ID)
}

// Lock keeps a server from its owner's actions, or everyone's but an
// administrator's.
func (s *Service) Lock(ctx context.Context, r ActionRequest, reason string) error {
	if utf8.RuneCountInString(reason) > 255 {
		return fault.New(fault.BadRequest, "invalid input for field/attribute locked_reason: it is longer than 255 characters")
	}
	by := "owner"
	if r.Identity.ProjectID != r.Server.ProjectID {
		by = "admin"
	}
	return s.quickAction(ctx, r, ActionLock, map[string]any{"locked_by": by, "locked_reason": nullable(reason)}, "")
}

// Unlock takes a lock away. Only override takes away an administrator's.
func (s *Service) Unlock(ctx context.Context, r ActionRequest) error {
	guard := ""
	if !r.OverrideLock {
		if r.Server.LockedBy == "admin" {
			return fault.New(fault.Forbidden, "Policy doesn't allow os_compute_api:os-lock-server:unlock:unlock_override to be performed.")
		}
		guard = "(locked_by IS NULL OR locked_by = 'owner')"
	}
	return s.quickAction(ctx, r, ActionUnlock, map[string]any{"locked_by": nil, "locked_reason": nil}, guard)
}

// ResetState makes a server ERROR or ACTIVE by an administrator's word. What is
// in flight on it loses its turn.
func (s *Service) ResetState(ctx context.Context, r ActionRequest, state string) error {
	old := r.Server.OpID
	err := s.quickAction(ctx, r, ActionResetState, map[string]any{"vm_state": state, "task_state": nil, "op_id": nil, "outcome": nil}, "")
	if err == nil && old != "" {
		s.wake(ctx, old)
	}
	return err
}

// quickAction is an action that is done when it is recorded.
func (s *Service) quickAction(ctx context.Context, r ActionRequest, action string, set map[string]any, guard string) error {
	now := s.clock.Now()
	a := &Action{ID: ids.UUID(), ServerID: r.Server.ID, Action: action, RequestID: r.RequestID,
		ProjectID: r.Identity.ProjectID, UserID: r.Identity.UserID, StartTime: now, UpdatedAt: now}
	ok, err := s.updateWithAction(ctx, r.Server.ID, set, guard, a)
	if err == nil && !ok {
		return fault.New(fault.Conflict, "Instance %s was changed meanwhile", r.Server.ID)
	}
	return err
}
