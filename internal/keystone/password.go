package keystone

import (
	"context"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/hastack/hastack/internal/fault"
)

// MaxPasswordLen is the longest password that is taken, in bytes.
const MaxPasswordLen = 4096

// secretCost hashes secrets that we generated with at least 256 random bits:
// nobody can try those one by one, so a slow hash would only slow us down.
const secretCost = bcrypt.MinCost

// hasher runs bcrypt for everybody. It leaves a processor free for the rest of
// the service, so that a storm of logins does not slow validations, and it
// bounds how many logins wait.
type hasher struct {
	cost  int
	slots chan struct{} // holds one for each hash being computed
	queue chan struct{} // holds one for each caller inside
	dummy []byte        // compared with when there is no user
}

func newHasher(cost, queue int) (*hasher, error) {
	if cost == 0 {
		cost = 12
	}
	if queue == 0 {
		queue = 256
	}
	if cost < bcrypt.MinCost || cost > bcrypt.MaxCost {
		return nil, fmt.Errorf("bcrypt cost %d is not between %d and %d", cost, bcrypt.MinCost, bcrypt.MaxCost)
	}
	return &hasher{
		cost:  cost,
		slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)),
		queue: make(chan struct{}, queue),
		// Any salt and digest do: comparing hashes the password all the same.
		dummy: fmt.Appendf(nil, "$2a$%02d$%s", cost, strings.Repeat("x", 53)),
	}, nil
}

// cut drops what bcrypt would not look at. Keystone does the same; Go's bcrypt
// refuses instead, so this is the one place where it happens.
func cut(password string) []byte { return []byte(password[:min(len(password), 72)]) }

func checkPasswordLen(password string) error {
	if len(password) > MaxPasswordLen {
		return fault.New(fault.BadRequest, "a password may have at most %d bytes", MaxPasswordLen)
	}
	return nil
}

// hash computes the stored form of a password that its user chose.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	return h.hashAt(ctx, password, h.cost)
}

// hashSecret computes the stored form of a secret that we generated.
func (h *hasher) hashSecret(ctx context.Context, secret string) (string, error) {
	return h.hashAt(ctx, secret, min(secretCost, h.cost))
}

func (h *hasher) hashAt(ctx context.Context, password string, cost int) (string, error) {
	if err := checkPasswordLen(password); err != nil {
		return "", err
	}
	var out []byte
	err := h.run(ctx, func() (err error) {
		out, err = bcrypt.GenerateFromPassword(cut(password), cost)
		return err
	})
	return string(out), err
}

// verify tells whether password is the one behind hash. An empty hash costs as
// much time as a real one and is never right.
func (h *hasher) verify(ctx context.Context, hash, password string) (bool, error) {
	if err := checkPasswordLen(password); err != nil {
		return false, err
	}
	want := []byte(hash)
	if hash == "" {
		want = h.dummy
	}
	right := false
	err := h.run(ctx, func() error {
		right = bcrypt.CompareHashAndPassword(want, cut(password)) == nil && hash != ""
		return nil
	})
	return right, err
}

// run waits for a slot. Callers beyond the queue are turned away at once: they
// would wait longer than their clients do.
func (h *hasher) run(ctx context.Context, f func() error) error {
	select {
	case h.queue <- struct{}{}:
		defer func() { <-h.queue }()
	default:
		return fault.New(fault.Unavailable, "too many logins are waiting; try again later")
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return f()
}
