package novaapi

import (
	"context"
	"strconv"
	"strings"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

type contextType = context.Context

func itoa(n int) string { return strconv.Itoa(n) }

// orNil is null in JSON for "".
func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func randomPassword() string { return ids.Secret(6) }

// signed is a whole number of either sign that clients also send as a string.
type signed int

// UnmarshalJSON takes a whole number, or one in quotes.
func (n *signed) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseInt(strings.Trim(string(b), `"`), 10, 32)
	if err != nil {
		return fault.New(fault.BadRequest, "%.40s is not a whole number", b)
	}
	*n = signed(v)
	return nil
}
