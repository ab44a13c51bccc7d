package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"sync"

	"github.com/hastack/hastack/internal/fault"
)

// A Response overrides what a route answers by default. A zero Status keeps
// the route's; a []byte body is written as it is, anything else as JSON.
type Response struct {
	Status int
	Header http.Header
	Body   any
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (rt *Router) write(w http.ResponseWriter, r *http.Request, status int, body any) {
	if resp, ok := body.(*Response); ok && resp != nil {
		body = *resp
	}
	if resp, ok := body.(Response); ok {
		for k, vs := range resp.Header {
			w.Header()[http.CanonicalHeaderKey(k)] = vs
		}
		if resp.Status != 0 {
			status = resp.Status
		}
		body = resp.Body
	}
	if body == nil {
		w.Header().Set("Content-Length", "0")
		if status == http.StatusNoContent || status == http.StatusNotModified {
			w.Header().Del("Content-Length")
		}
		w.WriteHeader(status)
		return
	}
	if raw, ok := body.([]byte); ok {
		writeBytes(w, r, status, raw)
		return
	}
	buf := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buf)
	buf.Reset()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		rt.fail(w, r, err)
		return
	}
	writeBytes(w, r, status, bytes.TrimSuffix(buf.Bytes(), []byte("\n")))
}

func writeBytes(w http.ResponseWriter, r *http.Request, status int, b []byte) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		// A client that went away cannot be told so.
		_, _ = w.Write(b)
	}
}

// WriteJSON writes v as an error writer or a stream handler needs it.
func WriteJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	writeBytes(w, r, status, b)
}

// fail answers with the service's envelope. Anything that is not a fault is
// logged with its cause and answered as a 500 that tells nothing of it.
func (rt *Router) fail(w http.ResponseWriter, r *http.Request, err error) {
	ctx := r.Context()
	var big *http.MaxBytesError
	f := fault.As(err)
	switch {
	case errors.As(err, &big):
		f = fault.New(fault.TooLarge, "the request body is larger than %d bytes", big.Limit)
	case f == nil && errors.Is(err, context.Canceled) && ctx.Err() != nil:
		f = fault.New(fault.Unavailable, "the client closed the request")
	case f == nil && errors.Is(err, context.DeadlineExceeded):
		f = fault.Wrap(fault.Timeout, err, "the request took too long")
	}
	if f == nil || f.Kind == fault.Internal {
		rt.cfg.Log.ErrorContext(ctx, "request failed", "service", rt.cfg.Service,
			"method", r.Method, "path", r.URL.Path, "error", err)
		f = fault.New(fault.Internal, "an unexpected error prevented the server from fulfilling your request")
	} else if f.Cause != nil {
		rt.cfg.Log.WarnContext(ctx, "request refused", "service", rt.cfg.Service,
			"method", r.Method, "path", r.URL.Path, "error", err)
	}
	if started(w) {
		// Half an answer cannot be turned into an error: break the connection,
		// so that the client does not take it for a whole one.
		panic(http.ErrAbortHandler)
	}
	if f.Kind == fault.Unauthorized && w.Header().Get("WWW-Authenticate") == "" {
		w.Header().Set("WWW-Authenticate", `Keystone uri="`+rt.cfg.AuthURL+`"`)
	}
	rt.cfg.WriteError(w, r, f)
}
