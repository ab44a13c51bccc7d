package glance

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// Statuses of an image.
const (
	StatusQueued      = "queued"
	StatusSaving      = "saving"
	StatusUploading   = "uploading"
	StatusActive      = "active"
	StatusDeactivated = "deactivated"
)

// Visibilities of an image.
const (
	Public    = "public"
	Private   = "private"
	Shared    = "shared"
	Community = "community"
)

// hashAlgo is the algorithm of os_hash_value.
const hashAlgo = "sha512"

// An Image is one entry of the catalogue. The nil pointers are values that are
// not known (yet); Location is the name of its data in the file store.
type Image struct {
	bun.BaseModel `bun:"table:images,alias:images"`

	ID              string `bun:"id,pk"`
	Name            *string
	Owner           string
	Status          string
	Visibility      string
	DiskFormat      *string
	ContainerFormat *string
	Size            *int64 // bytes
	VirtualSize     *int64 // bytes
	Checksum        *string
	OSHashAlgo      *string `bun:"os_hash_algo"`
	OSHashValue     *string `bun:"os_hash_value"`
	MinDisk         int64   // GiB
	MinRAM          int64   `bun:"min_ram"` // MiB
	Protected       bool
	OSHidden        bool `bun:"os_hidden"`
	Properties      map[string]string
	Tags            []string
	Location        string
	UploadID        string
	UploadDeadline  *time.Time
	Version         int64
	CreatedAt       time.Time
	UpdatedAt       time.Time
}

// A Viewer is who looks at images: a project, and whether it may see all.
type Viewer struct {
	ProjectID string
	Admin     bool
}

// DiskFormats and ContainerFormats are the values that the API knows.
func DiskFormats() []string {
	return []string{"ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"}
}

// ContainerFormats are the values of container_format.
func ContainerFormats() []string {
	return []string{"ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"}
}

// CreateImage adds a queued image. An empty ID, Owner or Visibility gets its
// default. It returns Conflict if the ID is or was in use.
func (s *Service) CreateImage(ctx context.Context, v Viewer, img *Image) error {
	if img.ID == "" {
		img.ID = ids.UUID()
	} else if !ids.IsUUID(img.ID) {
		return fault.New(fault.BadRequest, "image id %q is not a UUID", img.ID)
	}
	if img.Owner == "" {
		img.Owner = v.ProjectID
	}
	if img.Owner == "" {
		return fault.New(fault.BadRequest, "an image needs an owner; use a token of a project")
	}
	if img.Owner != v.ProjectID && !v.Admin {
		return fault.New(fault.Forbidden, "you are not permitted to create images owned by %q", img.Owner)
	}
	if img.Visibility == "" {
		img.Visibility = Shared
	}
	img.Status, img.Version = StatusQueued, 1
	img.CreatedAt = s.clock.Now()
	img.UpdatedAt = img.CreatedAt
	if err := s.validate(img); err != nil {
		return err
	}
	return s.insertImage(ctx, img)
}

// Image returns an image that v may see. Others are NotFound, so that ids
// cannot be probed.
func (s *Service) Image(ctx context.Context, v Viewer, id string) (*Image, error) {
	if !ids.IsUUID(id) {
		return nil, notFound(id)
	}
	img, err := s.selectImage(ctx, id)
	if err != nil {
		return nil, err
	}
	if v.Admin || img.Owner == v.ProjectID && v.ProjectID != "" || img.Visibility == Public || img.Visibility == Community {
		return img, nil
	}
	if img.Visibility == Shared && v.ProjectID != "" {
		ok, err := s.isMember(ctx, id, v.ProjectID)
		if err != nil {
			return nil, err
		}
		if ok {
			return img, nil
		}
	}
	return nil, notFound(id)
}

func notFound(id string) error {
	return fault.New(fault.NotFound, "no image found with ID %.64s", id)
}

// validate checks what a client may set, after every change.
func (s *Service) validate(img *Image) error {
	if img.Name != nil && (!utf8.ValidString(*img.Name) || utf8.RuneCountInString(*img.Name) > 255) {
		return fault.New(fault.BadRequest, "name is longer than 255 characters")
	}
	if len(img.Owner) > 255 {
		return fault.New(fault.BadRequest, "owner is longer than 255 characters")
	}
	if !slices.Contains([]string{Public, Private, Shared, Community}, img.Visibility) {
		return fault.New(fault.BadRequest, "visibility %q is none of public, private, shared and community", img.Visibility)
	}
	if f := img.DiskFormat; f != nil && !slices.Contains(DiskFormats(), *f) {
		return fault.New(fault.BadRequest, "invalid disk format %q for image", *f)
	}
	if f := img.ContainerFormat; f != nil && !slices.Contains(ContainerFormats(), *f) {
		return fault.New(fault.BadRequest, "invalid container format %q for image", *f)
	}
	if err := sameAmazonFormat(img.DiskFormat, img.ContainerFormat); err != nil {
		return err
	}
	const maxInt32 = 1<<31 - 1
	if img.MinDisk < 0 || img.MinDisk > maxInt32 || img.MinRAM < 0 || img.MinRAM > maxInt32 {
		return fault.New(fault.BadRequest, "min_disk and min_ram must be between 0 and %d", maxInt32)
	}
	return s.validateExtras(img)
}

// sameAmazonFormat: the Amazon formats only make sense in pairs.
func sameAmazonFormat(disk, container *string) error {
	amazon := func(f *string) bool { return f != nil && (*f == "aki" || *f == "ari" || *f == "ami") }
	if amazon(disk) && container != nil && *container != *disk || amazon(container) && disk != nil && *container != *disk {
		return fault.New(fault.BadRequest,
			"invalid mix of disk and container formats: when one is aki, ari or ami, both must match (disk %s, container %s)", *disk, *container)
	}
	return nil
}

func (s *Service) validateExtras(img *Image) error {
	if img.Properties == nil {
		img.Properties = map[string]string{}
	}
	if len(img.Properties) > s.cfg.MaxProperties {
		return fault.New(fault.TooLarge, "the limit of %d properties on one image has been exceeded", s.cfg.MaxProperties)
	}
	for name, value := range img.Properties {
		if name == "" || len(name) > 255 || !utf8.ValidString(name) || strings.ContainsAny(name, "\x00\r\n") {
			return fault.New(fault.BadRequest, "property name %.64q must have between 1 and 255 characters", name)
		}
		if len(value) > 65535 || !utf8.ValidString(value) {
			return fault.New(fault.BadRequest, "the value of property %q is longer than 65535 bytes", name)
		}
	}
	img.Tags = slices.Compact(slices.Sorted(slices.Values(img.Tags)))
	if img.Tags == nil {
		img.Tags = []string{}
	}
	if len(img.Tags) > s.cfg.MaxProperties {
		return fault.New(fault.TooLarge, "the limit of %d tags on one image has been exceeded", s.cfg.MaxProperties)
	}
	for _, tag := range img.Tags {
		if tag == "" || utf8.RuneCountInString(tag) > 255 {
			return fault.New(fault.BadRequest, "tag %.64q must have between 1 and 255 characters", tag)
		}
	}
	return nil
}

// clone copies img deeply enough to change the copy.
func (img *Image) clone() *Image {
	c := *img
	c.Properties = maps.Clone(img.Properties)
	c.Tags = slices.Clone(img.Tags)
	return &c
}
