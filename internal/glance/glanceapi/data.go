package glanceapi

import (
	"context"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/glance"
	"github.com/hastack/hastack/internal/httpapi"
)

// Data moves without a limit on the whole request, but must keep moving.
const (
	stallTime = 60 * time.Second
	piece     = 8 << 20
	// drainMax is read of a refused upload, so that the client, which writes
	// before it reads, gets the answer instead of a broken connection.
	drainMax = 64 << 20
)

type receiver func(ctx context.Context, img *glance.Image, body io.Reader, length int64) error

func (a *API) upload(w http.ResponseWriter, r *httpapi.Request) error {
	return a.receive(w, r, a.glance.Upload)
}

func (a *API) stage(w http.ResponseWriter, r *httpapi.Request) error {
	return a.receive(w, r, a.glance.Stage)
}

func (a *API) receive(w http.ResponseWriter, r *httpapi.Request, to receiver) error {
	img, _, err := a.image(r)
	if err != nil {
		return err
	}
	if mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mt != "application/octet-stream" {
		return fault.New(fault.UnsupportedMedia, "content type %.80q is not supported; send application/octet-stream", r.Header.Get("Content-Type"))
	}
	body := &movingReader{Reader: r.Body, rc: http.NewResponseController(w), clock: a.clock}
	if err := to(r.Context(), img, body, r.ContentLength); err != nil {
		_, _ = io.CopyN(io.Discard, body, drainMax)
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// movingReader gives each read its own deadline: a client may take hours, but
// not stand still.
type movingReader struct {
	io.Reader
	rc    *http.ResponseController
	clock clock.Clock
}

func (m *movingReader) Read(p []byte) (int, error) {
	// A server that cannot set deadlines has none that could strike.
	_ = m.rc.SetReadDeadline(m.clock.Now().Add(stallTime))
	return m.Reader.Read(p)
}

func (a *API) download(w http.ResponseWriter, r *httpapi.Request) error {
	img, v, err := a.image(r)
	if err != nil {
		return err
	}
	data, err := a.glance.OpenData(r.Context(), v, img)
	if err != nil {
		return err
	}
	if data == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	defer func() { _ = data.Close() }()
	size, status := *img.Size, http.StatusOK
	from, length := int64(0), size
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Accept-Ranges", "bytes")
	if header := r.Header.Get("Range"); header != "" {
		var ok bool
		if from, length, ok = readRange(header, size); !ok {
			h.Del("Content-Type")
			h.Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
			return fault.New(fault.RangeNotSatisfiable, "the range %.80q is not inside the %d bytes of the image", header, size)
		}
		status = http.StatusPartialContent
		h.Set("Content-Range", "bytes "+strconv.FormatInt(from, 10)+"-"+strconv.FormatInt(from+length-1, 10)+"/"+strconv.FormatInt(size, 10))
	} else if img.Checksum != nil {
		h.Set("Content-Md5", *img.Checksum)
	}
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	if _, err := data.Seek(from, io.SeekStart); err != nil {
		return err
	}
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	a.send(w, data, length)
	return nil
}

// send copies in pieces to the server's own writer, which lets the kernel do
// it. If it breaks off, the connection ends short of Content-Length, which is
// how the client sees it.
func (a *API) send(w http.ResponseWriter, data io.Reader, length int64) {
	rc := http.NewResponseController(w)
	out := innermost(w)
	for length > 0 {
		_ = rc.SetWriteDeadline(a.clock.Now().Add(stallTime))
		n, err := io.CopyN(out, data, min(length, piece))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		length -= n
	}
}

func innermost(w http.ResponseWriter) io.Writer {
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = u.Unwrap()
	}
}

// readRange reads one range of bytes. Several ranges are refused, as Glance
// does.
func readRange(header string, size int64) (from, length int64, ok bool) {
	spec, ok := strings.CutPrefix(header, "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	if !ok || !dash || strings.Contains(spec, ",") {
		return 0, 0, false
	}
	if first == "" {
		n, err := strconv.ParseUint(last, 10, 63)
		if err != nil || n == 0 || size == 0 {
			return 0, 0, false
		}
		length = min(int64(n), size)
		return size - length, length, true
	}
	start, err := strconv.ParseUint(first, 10, 63)
	if err != nil || int64(start) >= size {
		return 0, 0, false
	}
	end := uint64(size - 1)
	if last != "" {
		n, err := strconv.ParseUint(last, 10, 63)
		if err != nil || n < start {
			return 0, 0, false
		}
		end = min(n, end)
	}
	return int64(start), int64(end-start) + 1, true
}
