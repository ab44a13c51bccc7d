package stack

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
)

// shortcut carries a call to an API of this very process without a socket.
// Everything else about the call is as on the wire: the handler sees a fresh
// context without the caller's values, its own copy of the headers, and bodies
// that stream both ways. Calls to other addresses go to base.
type shortcut struct {
	host    string // host:port of this process
	handler http.Handler
	base    http.RoundTripper
	calls   atomic.Int64
}

// bare is a caller's context without its values: what a handler would get from
// the wire.
type bare struct{ context.Context } //nolint:containedctx // it is a context

func (bare) Value(any) any { return nil }

// RoundTrip answers as soon as the handler has written its header.
func (s *shortcut) RoundTrip(req *http.Request) (*http.Response, error) {
	s.calls.Add(1)
	if req.URL.Host != s.host {
		return s.base.RoundTrip(req)
	}
	ctx, cancel := context.WithCancel(bare{req.Context()})
	in := req.Clone(ctx)
	in.RequestURI = req.URL.RequestURI()
	in.Host = s.host
	in.RemoteAddr = "127.0.0.1:0"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	pr, pw := io.Pipe()
	w := &pipeWriter{header: http.Header{}, body: pw, ready: make(chan struct{})}
	go func() {
		defer cancel()
		defer func() {
			err := io.EOF
			if p := recover(); p != nil {
				err = io.ErrUnexpectedEOF
			}
			w.finish()
			_ = pw.CloseWithError(err)
			_ = in.Body.Close()
		}()
		s.handler.ServeHTTP(w, in)
	}()
	select {
	case <-w.ready:
	case <-req.Context().Done():
		_ = pr.CloseWithError(req.Context().Err())
		return nil, req.Context().Err()
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: &pipeBody{pr, cancel}, ContentLength: w.length, Request: req,
	}, nil
}

// pipeBody ends the handler's context when the caller closes the body early.
type pipeBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (b *pipeBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}

// pipeWriter hands the header over at the first write, and the body through the
// pipe as it is written.
type pipeWriter struct {
	header, sent http.Header
	status       int
	length       int64
	body         *io.PipeWriter
	once         sync.Once
	ready        chan struct{}
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	if status < 200 {
		return
	}
	w.once.Do(func() {
		w.status, w.sent, w.length = status, w.header.Clone(), contentLength(w.header)
		close(w.ready)
	})
}

func (w *pipeWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// Flush is for handlers that stream; there is nothing to flush.
func (w *pipeWriter) Flush() { w.WriteHeader(http.StatusOK) }

func (w *pipeWriter) finish() { w.WriteHeader(http.StatusOK) }

func contentLength(h http.Header) int64 {
	n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	if err != nil {
		return -1
	}
	return n
}
