package glance

import (
	"context"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/fault"
)

// A Member is a project that a shared image is offered to.
type Member struct {
	bun.BaseModel `bun:"table:image_members,alias:image_members"`
	ImageID       string `bun:"image_id,pk"`
	Member        string `bun:"member,pk"`
	Status        string
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

// Statuses of a membership. Only accepted images are in the member's list.
const (
	MemberPending  = "pending"
	MemberAccepted = "accepted"
	MemberRejected = "rejected"
)

// AddMember offers an image to a project. The image must be shared.
func (s *Service) AddMember(ctx context.Context, img *Image, project string) (*Member, error) {
	if project == "" || len(project) > 255 {
		return nil, fault.New(fault.BadRequest, "member can't be empty nor longer than 255 characters")
	}
	if img.Visibility != Shared {
		return nil, fault.New(fault.Forbidden, "only shared images have members.")
	}
	now := s.clock.Now()
	m := &Member{ImageID: img.ID, Member: project, Status: MemberPending, CreatedAt: now, UpdatedAt: now}
	return m, s.insertMember(ctx, m)
}

// SetMemberStatus is how the member itself takes or refuses an offered image.
func (s *Service) SetMemberStatus(ctx context.Context, img *Image, project, status string) (*Member, error) {
	if !slices.Contains([]string{MemberPending, MemberAccepted, MemberRejected}, status) {
		return nil, fault.New(fault.BadRequest, "member status %.32q is none of pending, accepted and rejected", status)
	}
	m, err := s.Member(ctx, img, project)
	if err != nil {
		return nil, err
	}
	m.Status, m.UpdatedAt = status, s.clock.Now()
	ok, err := s.updateMember(ctx, m)
	if err == nil && !ok {
		err = memberNotFound(img.ID, project)
	}
	return m, err
}

// RemoveMember withdraws the offer.
func (s *Service) RemoveMember(ctx context.Context, img *Image, project string) error {
	if img.Visibility != Shared {
		return fault.New(fault.Forbidden, "only shared images have members.")
	}
	ok, err := s.deleteMember(ctx, img.ID, project)
	if err == nil && !ok {
		err = memberNotFound(img.ID, project)
	}
	return err
}

// Members lists the members that v may see: all for the owner, its own entry
// for a member.
func (s *Service) Members(ctx context.Context, v Viewer, img *Image) ([]Member, error) {
	if img.Visibility != Shared {
		return nil, fault.New(fault.Forbidden, "only shared images have members.")
	}
	only := ""
	if !v.Admin && img.Owner != v.ProjectID {
		only = v.ProjectID
	}
	return s.selectMembers(ctx, img.ID, only)
}

func memberNotFound(id, project string) error {
	return fault.New(fault.NotFound, "%.64s not found in the member list of the image %s.", project, id)
}
