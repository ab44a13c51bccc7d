package glance

import (
	"context"
	"slices"

	"github.com/hastack/hastack/internal/fault"
)

// casTries bounds how often a change is applied anew to an image that others
// are changing.
const casTries = 8

// A Change is one step of a JSON patch on a top-level attribute. Value is as
// decoded from JSON, nil for remove.
type Change struct {
	Op    string // add, replace, remove
	Name  string
	Value any
}

// readOnly are attributes that the service sets; reserved are names with a
// meaning of their own.
var (
	readOnly = []string{"created_at", "updated_at", "status", "checksum", "size", "virtual_size", "os_hash_algo", "os_hash_value", "id"}
	reserved = []string{"direct_url", "self", "file", "schema", "stores", "location", "deleted", "deleted_at", "is_public", "first", "next"}
)

// CheckSettable returns Forbidden for attributes that no client sets.
func CheckSettable(name string) error {
	switch {
	case slices.Contains(readOnly, name):
		return fault.New(fault.Forbidden, "attribute '%s' is read-only.", name)
	case slices.Contains(reserved, name):
		return fault.New(fault.Forbidden, "attribute '%s' is reserved.", name)
	case name == "locations":
		return fault.New(fault.Forbidden, "it's not allowed to update locations if locations are invisible.")
	}
	return nil
}

// UpdateImage applies changes in order, all or none, and returns the image as
// it is then.
func (s *Service) UpdateImage(ctx context.Context, v Viewer, id string, changes []Change) (*Image, error) {
	return s.modify(ctx, v, id, func(img *Image) error {
		for _, c := range changes {
			if err := applyChange(img, v, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// modify applies f to the newest version of the image until no other change
// comes between.
func (s *Service) modify(ctx context.Context, v Viewer, id string, f func(img *Image) error) (*Image, error) {
	for range casTries {
		old, err := s.Image(ctx, v, id)
		if err != nil {
			return nil, err
		}
		img := old.clone()
		if err := f(img); err != nil {
			return nil, err
		}
		if err := s.validate(img); err != nil {
			return nil, err
		}
		img.UpdatedAt = s.clock.Now()
		ok, err := s.casImage(ctx, old, img)
		if err != nil {
			return nil, err
		}
		if ok {
			return img, nil
		}
	}
	return nil, fault.New(fault.Conflict, "image %s is being changed by others, try again", id)
}

func applyChange(img *Image, v Viewer, c Change) error {
	if err := CheckSettable(c.Name); err != nil {
		return err
	}
	if c.Op != "add" && c.Op != "replace" && c.Op != "remove" {
		return fault.New(fault.BadRequest, "operation %q is none of add, replace and remove", c.Op)
	}
	base := slices.Contains(baseAttributes, c.Name)
	if c.Op == "remove" {
		if base {
			return fault.New(fault.Forbidden, "property %s may not be removed.", c.Name)
		}
		if _, ok := img.Properties[c.Name]; !ok {
			return fault.New(fault.Conflict, "property %s does not exist.", c.Name)
		}
		delete(img.Properties, c.Name)
		return nil
	}
	if base {
		if c.Name == "owner" && !v.Admin {
			return fault.New(fault.Forbidden, "owner can't be updated by non admin.")
		}
		if (c.Name == "disk_format" || c.Name == "container_format") && img.Status != StatusQueued {
			return fault.New(fault.Forbidden, "attribute %s can be only replaced for a queued image.", c.Name)
		}
		return img.Set(c.Name, c.Value)
	}
	if _, ok := img.Properties[c.Name]; !ok && c.Op == "replace" {
		return fault.New(fault.Conflict, "property %s does not exist.", c.Name)
	}
	return img.Set(c.Name, c.Value)
}

// baseAttributes are those that clients set and that are not properties.
var baseAttributes = []string{"name", "owner", "visibility", "disk_format", "container_format", "min_disk", "min_ram", "protected", "os_hidden", "tags"}

// Set sets an attribute or, under any other name, a property, from a decoded
// JSON value. Types are exact: "true" is not a boolean, 1.5 not a number of
// gigabytes.
func (img *Image) Set(name string, value any) error {
	switch name {
	case "name":
		return setText(&img.Name, name, value)
	case "disk_format":
		return setText(&img.DiskFormat, name, value)
	case "container_format":
		return setText(&img.ContainerFormat, name, value)
	case "owner":
		return setWord(&img.Owner, name, value)
	case "visibility":
		return setWord(&img.Visibility, name, value)
	case "min_disk":
		return setNumber(&img.MinDisk, name, value)
	case "min_ram":
		return setNumber(&img.MinRAM, name, value)
	case "protected":
		return setBool(&img.Protected, name, value)
	case "os_hidden":
		return setBool(&img.OSHidden, name, value)
	case "tags":
		return img.setTags(value)
	}
	text, ok := value.(string)
	if !ok {
		return wrongType(name, value, "string")
	}
	if img.Properties == nil {
		img.Properties = map[string]string{}
	}
	img.Properties[name] = text
	return nil
}

func wrongType(name string, value any, want string) error {
	return fault.New(fault.BadRequest, "invalid value %.64v for attribute %s: it is not a %s", value, name, want)
}

func setText(to **string, name string, value any) error {
	if value == nil {
		*to = nil
		return nil
	}
	text, ok := value.(string)
	if !ok {
		return wrongType(name, value, "string")
	}
	*to = &text
	return nil
}

func setWord(to *string, name string, value any) error {
	text, ok := value.(string)
	if !ok || text == "" {
		return wrongType(name, value, "string with a value")
	}
	*to = text
	return nil
}

func setBool(to *bool, name string, value any) error {
	b, ok := value.(bool)
	if !ok {
		return wrongType(name, value, "boolean")
	}
	*to = b
	return nil
}

func setNumber(to *int64, name string, value any) error {
	f, ok := value.(float64)
	if !ok || f != float64(int64(f)) {
		return wrongType(name, value, "whole number")
	}
	*to = int64(f)
	return nil
}

func (img *Image) setTags(value any) error {
	list, ok := value.([]any)
	if !ok {
		return wrongType("tags", value, "list of strings")
	}
	tags := make([]string, 0, len(list))
	for _, item := range list {
		text, ok := item.(string)
		if !ok {
			return wrongType("tags", item, "string")
		}
		tags = append(tags, text)
	}
	img.Tags = tags
	return nil
}

// AddTag adds one tag; it is no error if it is there.
func (s *Service) AddTag(ctx context.Context, v Viewer, id, tag string) error {
	_, err := s.modify(ctx, v, id, func(img *Image) error {
		img.Tags = append(img.Tags, tag)
		return nil
	})
	return err
}

// RemoveTag returns NotFound if the image does not have the tag.
func (s *Service) RemoveTag(ctx context.Context, v Viewer, id, tag string) error {
	_, err := s.modify(ctx, v, id, func(img *Image) error {
		at := slices.Index(img.Tags, tag)
		if at < 0 {
			return fault.New(fault.NotFound, "the tag %.64s was not found on image %s", tag, id)
		}
		img.Tags = slices.Delete(img.Tags, at, at+1)
		return nil
	})
	return err
}

// Deactivate makes the data of an active image unreadable to all but admins;
// Reactivate makes it readable again. Both may be repeated.
func (s *Service) Deactivate(ctx context.Context, img *Image) error {
	return s.toggle(ctx, img, StatusActive, StatusDeactivated)
}

// Reactivate undoes Deactivate.
func (s *Service) Reactivate(ctx context.Context, img *Image) error {
	return s.toggle(ctx, img, StatusDeactivated, StatusActive)
}

func (s *Service) toggle(ctx context.Context, img *Image, from, to string) error {
	if img.Status == to {
		return nil
	}
	ok, err := s.casStatus(ctx, img.ID, from, img.UploadID, to, nil)
	if err == nil && !ok {
		return fault.New(fault.Forbidden, "image status transition from %s to %s is not allowed", img.Status, to)
	}
	return err
}
