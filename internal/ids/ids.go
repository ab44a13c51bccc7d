// Package ids makes the identifiers that clients see and checks those they send.
package ids

import (
	"crypto/rand"
	"encoding/hex"
	"strings"

	"github.com/google/uuid"
)

// UUID returns a new random UUID, 36 characters with dashes.
func UUID() string { return uuid.NewString() }

// Hex returns a new random id of 32 hex digits without dashes, the form that
// Keystone uses. It is a version 4 UUID, as Keystone's are.
func Hex() string {
	u := uuid.New()
	return hex.EncodeToString(u[:])
}

// RequestID returns a new request id, "req-" and a UUID.
func RequestID() string { return "req-" + UUID() }

// Secret returns n random bytes from the system's generator in hex, for
// secrets and nonces that nobody may guess.
func Secret(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails since Go 1.24: it ends the process instead
	return hex.EncodeToString(b)
}

// IsUUID reports whether s is a UUID in its usual form with dashes, upper or
// lower case. Braces and "urn:uuid:" are refused, as OpenStack refuses them in
// paths.
func IsUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	_, err := uuid.Parse(s)
	return err == nil
}

// IsHex reports whether s is an id as Hex makes them.
func IsHex(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

// IsRequestID reports whether s may be taken over as a request id from a
// caller: "req-" and a UUID, nothing that could forge a log line.
func IsRequestID(s string) bool {
	rest, ok := strings.CutPrefix(s, "req-")
	return ok && IsUUID(rest)
}
