package neutron

import (
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/ids"
)

// Lines is a list of strings without line feeds, stored as one text with a
// line feed before and after each, so that SQL can look for a member.
type Lines []string

// Value stores the list.
func (l Lines) Value() (driver.Value, error) {
	if len(l) == 0 {
		return "", nil
	}
	return "\n" + strings.Join(l, "\n") + "\n", nil
}

// Scan reads the list back; it is never nil afterwards.
func (l *Lines) Scan(src any) error {
	var text string
	switch v := src.(type) {
	case string:
		text = v
	case []byte:
		text = string(v)
	case nil:
	default:
		return fmt.Errorf("scan %T as lines", src)
	}
	*l = Lines{}
	if text = strings.Trim(text, "\n"); text != "" {
		*l = strings.Split(text, "\n")
	}
	return nil
}

// sortedSet is l in order and without repetitions.
func sortedSet(l []string) Lines {
	out := slices.Clone(l)
	slices.Sort(out)
	return Lines(slices.Compact(out))
}

// Standard holds the attributes that every resource has.
type Standard struct {
	ID             string    `bun:"id,pk"`
	ProjectID      string    `bun:"project_id"`
	Description    string    `bun:"description"`
	Tags           Lines     `bun:"tags"`
	RevisionNumber int64     `bun:"revision_number"`
	CreatedAt      time.Time `bun:"created_at"`
	UpdatedAt      time.Time `bun:"updated_at"`
}

// newID is the id that a new resource is given: the one that its creator
// derived from an idempotency key, or a fresh one.
func newID(given string) string {
	if given != "" {
		return given
	}
	return ids.UUID()
}

// CheckTags refuses what cannot be stored or filtered by.
func CheckTags(tags []string) error {
	if len(tags) > maxTags {
		return badRequest(codeBadRequest, "The number of tags exceed the per-resource limit of %d", maxTags)
	}
	for _, t := range tags {
		if t == "" || len(t) > 255 || strings.Contains(t, ",") || hasControl(t) {
			return badRequest(codeBadRequest, "Invalid input for tags. Reason: '%s' is not a valid tag.", t)
		}
	}
	return nil
}

const maxTags = 50
