// Package fault has the one error type whose text a caller may read.
//
// Services return a *Error for everything the client did or may act on; any
// other error leaves a service as a 500 that carries only the request id. A
// fault crosses the bus unchanged. Read [Kind] first.
package fault

import (
	"errors"
	"fmt"
	"net/http"
)

// Kind classifies a fault; every API maps it to its own envelope and status.
type Kind int

// The kinds, one for each HTTP status that the APIs answer.
const (
	Internal Kind = iota
	BadRequest
	Unauthorized
	Forbidden
	NotFound
	MethodNotAllowed
	NotAcceptable
	Conflict
	Gone
	PreconditionFailed
	TooLarge
	UnsupportedMedia
	RangeNotSatisfiable
	OverLimit
	NotImplemented
	Unavailable
	Timeout
	InsufficientStorage
)

var statuses = [...]int{
	Internal:            http.StatusInternalServerError,
	BadRequest:          http.StatusBadRequest,
	Unauthorized:        http.StatusUnauthorized,
	Forbidden:           http.StatusForbidden,
	NotFound:            http.StatusNotFound,
	MethodNotAllowed:    http.StatusMethodNotAllowed,
	NotAcceptable:       http.StatusNotAcceptable,
	Conflict:            http.StatusConflict,
	Gone:                http.StatusGone,
	PreconditionFailed:  http.StatusPreconditionFailed,
	TooLarge:            http.StatusRequestEntityTooLarge,
	UnsupportedMedia:    http.StatusUnsupportedMediaType,
	RangeNotSatisfiable: http.StatusRequestedRangeNotSatisfiable,
	OverLimit:           http.StatusTooManyRequests,
	NotImplemented:      http.StatusNotImplemented,
	Unavailable:         http.StatusServiceUnavailable,
	Timeout:             http.StatusGatewayTimeout,
	InsufficientStorage: http.StatusInsufficientStorage,
}

// Status is the HTTP status of the kind; 500 for a kind that does not exist.
func (k Kind) Status() int {
	if k < 0 || int(k) >= len(statuses) {
		return http.StatusInternalServerError
	}
	return statuses[k]
}

// KindOfStatus is the kind with that HTTP status, Internal if there is none.
func KindOfStatus(status int) Kind {
	for k, s := range statuses {
		if s == status {
			return Kind(k)
		}
	}
	switch {
	case status == http.StatusBadGateway:
		return Unavailable
	case status >= 400 && status < 500:
		return BadRequest
	}
	return Internal
}

func (k Kind) String() string { return http.StatusText(k.Status()) }

// An Error tells a caller what was refused and why. Text is lower case, names
// the thing and the field, and holds nothing the caller may not know; Cause is
// only logged.
type Error struct {
	Kind Kind   `json:"kind"`
	Text string `json:"text"`
	// Code is the service's own error name where its API has one
	// (Placement's "placement.concurrent_update", Neutron's exception type).
	Code  string `json:"code,omitempty"`
	Cause error  `json:"-"`
}

// New makes a fault with a formatted text.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

// Wrap makes a fault whose cause is kept for the log.
func Wrap(kind Kind, cause error, format string, args ...any) *Error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...), Cause: cause}
}

// WithCode returns a copy of e that carries the service's own error name.
func (e *Error) WithCode(code string) *Error {
	c := *e
	c.Code = code
	return &c
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Text + ": " + e.Cause.Error()
	}
	return e.Text
}

func (e *Error) Unwrap() error { return e.Cause }

// As returns the fault inside err, or nil.
func As(err error) *Error {
	if f, ok := errors.AsType[*Error](err); ok {
		return f
	}
	return nil
}

// KindOf is the kind of the fault inside err, Internal if there is none.
func KindOf(err error) Kind {
	if f := As(err); f != nil {
		return f.Kind
	}
	return Internal
}

// Is tells whether err holds a fault of kind k.
func Is(err error, k Kind) bool {
	f := As(err)
	return f != nil && f.Kind == k
}
