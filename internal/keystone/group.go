package keystone

import (
	"context"
	"time"

	"github.com/hastack/hastack/internal/ids"
)

// A Group holds users, who have the roles assigned to it.
type Group struct {
	BaseModel `bun:"table:user_groups"`

	ID          string `bun:"id,pk"`
	DomainID    string
	Name        string
	Description string
	Extra       Extra
	CreatedAt   time.Time
}

// A GroupUpdate holds what is to change; nil keeps.
type GroupUpdate struct {
	Name, Description *string
	Extra             Extra
}

// CreateGroup adds g.
func (s *Service) CreateGroup(ctx context.Context, g *Group) error {
	if err := checkName("group", g.Name, 64); err != nil {
		return err
	}
	g.ID, g.CreatedAt = ids.Hex(), s.clock.Now()
	return s.insertGroup(ctx, g)
}

// Group finds a group by id.
func (s *Service) Group(ctx context.Context, id string) (*Group, error) {
	return s.selectGroup(ctx, id)
}

// Groups lists groups; they can be filtered by name and domain_id.
func (s *Service) Groups(ctx context.Context, f Filter) ([]Group, error) {
	return s.selectGroups(ctx, f)
}

// UpdateGroup changes a group.
func (s *Service) UpdateGroup(ctx context.Context, id string, up GroupUpdate) (*Group, error) {
	g, err := s.selectGroup(ctx, id)
	if err != nil {
		return nil, err
	}
	var cols []string
	if up.Name != nil {
		if err := checkName("group", *up.Name, 64); err != nil {
			return nil, err
		}
		g.Name, cols = *up.Name, append(cols, "name")
	}
	if up.Description != nil {
		g.Description, cols = *up.Description, append(cols, "description")
	}
	if g.Extra.merge(up.Extra) {
		cols = append(cols, "extra")
	}
	return g, s.updateGroup(ctx, g, cols)
}

// DeleteGroup removes a group; its members lose the roles they had through it.
func (s *Service) DeleteGroup(ctx context.Context, id string) error { return s.deleteGroup(ctx, id) }

// AddMember puts a user into a group; it is no error if they are in it.
func (s *Service) AddMember(ctx context.Context, groupID, userID string) error {
	if err := s.groupAndUser(ctx, groupID, userID); err != nil {
		return err
	}
	return s.insertMembership(ctx, groupID, userID)
}

// RemoveMember takes a user out of a group.
func (s *Service) RemoveMember(ctx context.Context, groupID, userID string) error {
	if err := s.groupAndUser(ctx, groupID, userID); err != nil {
		return err
	}
	return s.deleteMembership(ctx, groupID, userID)
}

// CheckMember returns NotFound unless the user is in the group.
func (s *Service) CheckMember(ctx context.Context, groupID, userID string) error {
	if err := s.groupAndUser(ctx, groupID, userID); err != nil {
		return err
	}
	return s.selectMembership(ctx, groupID, userID)
}

func (s *Service) groupAndUser(ctx context.Context, groupID, userID string) error {
	if _, err := s.selectGroup(ctx, groupID); err != nil {
		return err
	}
	_, err := s.selectUser(ctx, userID)
	return err
}

// Members lists the users in a group.
func (s *Service) Members(ctx context.Context, groupID string, f Filter) ([]User, error) {
	if _, err := s.selectGroup(ctx, groupID); err != nil {
		return nil, err
	}
	return s.selectMembers(ctx, groupID, f)
}

// GroupsOf lists the groups a user is in.
func (s *Service) GroupsOf(ctx context.Context, userID string, f Filter) ([]Group, error) {
	if _, err := s.selectUser(ctx, userID); err != nil {
		return nil, err
	}
	return s.selectGroupsOf(ctx, userID, f)
}
