package neutronapi

import (
	"strconv"

	"github.com/google/uuid"

	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/neutron"
)

// idempotencySpace is the name space of ids that follow from a key.
var idempotencySpace = uuid.MustParse("5f0c2b1e-7f0a-4a56-9d2b-3f6f0f0d6f52")

// idempotentID is the id that a new resource gets when the request carries an
// Idempotency-Key: the same for each repetition, so that the table's own key
// tells whether the first one was done. Without the header it is empty and the
// service chooses.
func idempotentID(r *httpapi.Request, kind neutron.Kind, i int) (string, error) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		return "", nil
	}
	if len(key) > 255 {
		return "", badRequest("Idempotency-Key is longer than 255 characters")
	}
	id := r.Identity()
	name := id.ProjectID + "\n" + id.UserID + "\n" + string(kind) + "\n" + strconv.Itoa(i) + "\n" + key
	return uuid.NewSHA1(idempotencySpace, []byte(name)).String(), nil
}

// identify gives each of the new resources of a request its id.
func identify(r *httpapi.Request, kind neutron.Kind, n int) ([]string, error) {
	out := make([]string, n)
	for i := range out {
		var err error
		if out[i], err = idempotentID(r, kind, i); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// once creates resources, or returns those that an earlier request with the
// same key has created.
func once[T any](ids []string, find func(id string) (T, error), create func() ([]T, error)) ([]T, error) {
	if len(ids) == 0 || ids[0] == "" {
		return create()
	}
	earlier := func() ([]T, bool) {
		out := make([]T, 0, len(ids))
		for _, id := range ids {
			x, err := find(id)
			if err != nil {
				return nil, false
			}
			out = append(out, x)
		}
		return out, true
	}
	if out, ok := earlier(); ok {
		return out, nil
	}
	out, err := create()
	if err != nil {
		// The other of two at once may have been first.
		if first, ok := earlier(); ok {
			return first, nil
		}
	}
	return out, err
}
