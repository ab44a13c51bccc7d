package glance

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// Image data on several servers. Each image service keeps data in its own
// directory and has copies of the others':
//
//	push   an upload puts its data on further servers, before the image becomes
//	       active, until Copies of them have it
//	pull   a download of data that is not here fetches it first; the janitor
//	       fetches what is not here yet, also after a disk was lost
//
// Data never changes under its location, so a copy is right or it is broken;
// its checksum is compared with the image's whenever it is fetched. Deletion
// removes the data where it is asked for, and elsewhere by the janitor.

// Peers are the image services that share their data. The zero value is a
// service alone.
type Peers struct {
	URLs      []string // base URLs of all, the own one among them
	Self      string
	Copies    int // before an image becomes active; 0 means 2
	Transport http.RoundTripper
}

const (
	// StorePath is where a service serves its peers, below its base URL.
	StorePath  = "/store/"
	hashHeader = "X-Image-Sha512"
	sizeHeader = "X-Image-Size"
	// peerQuiet bounds how long a peer may be silent in the middle of data.
	peerQuiet = 20 * time.Second
)

// others are the peers in the order in which this service asks them: each
// begins with its neighbour, so that copies spread.
func (p Peers) others() []string {
	i := slices.Index(p.URLs, p.Self)
	if i < 0 {
		return nil
	}
	return slices.Concat(p.URLs[i+1:], p.URLs[:i])
}

func (p Peers) copies() int {
	if p.Copies == 0 {
		return min(2, max(1, len(p.URLs)))
	}
	return p.Copies
}

// pushAll is push while the upload's lease is kept.
func (s *Service) pushAll(ctx context.Context, t *transfer, loc, sum string, size int64) error {
	if s.cfg.Peers.copies() <= 1 {
		return nil
	}
	if err := at(ctx, "copy.before-effect"); err != nil {
		return err
	}
	pctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.push(pctx, loc, sum, size) }()
	err, pushed := error(nil), false
	for err == nil && !pushed {
		select {
		case err = <-done:
			pushed = true
		case <-s.clock.After(s.cfg.UploadLease / 3):
			err = t.keepLease(ctx)
		}
	}
	cancel()
	if !pushed {
		//nolint:errcheck // err says what went wrong
		<-done
	}
	if err != nil {
		return err
	}
	return at(ctx, "copy.after-effect")
}

// push puts published data on further servers until enough have it.
func (s *Service) push(ctx context.Context, loc, sum string, size int64) error {
	have, want := 1, s.cfg.Peers.copies()
	var errs []error
	for _, peer := range s.cfg.Peers.others() {
		if have >= want {
			return nil
		}
		if err := s.pushTo(ctx, peer, loc, sum, size); err != nil {
			errs = append(errs, err)
			s.log.WarnContext(ctx, "image data not copied", "peer", peer, "error", err)
			continue
		}
		have++
	}
	if have >= want {
		return nil
	}
	return fault.Wrap(fault.Unavailable, errors.Join(errs...), "the image data is on %d of the %d servers that must have it", have, want)
}

func (s *Service) pushTo(ctx context.Context, peer, loc, sum string, size int64) error {
	f, err := s.files.open(loc)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, watch := quietly(ctx)
	defer watch.stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, peer+StorePath+loc, watch.reader(f))
	if err != nil {
		return err
	}
	req.ContentLength = size
	req.Header.Set(hashHeader, sum)
	resp, err := s.peerClient().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return nil
}

func (s *Service) peerClient() *http.Client { return &http.Client{Transport: s.cfg.Peers.Transport} }

// pull fetches the data of an image that is not here. Several that need it at
// once share one fetch, which goes on when one of them leaves.
func (s *Service) pull(ctx context.Context, img *Image) error {
	if img.OSHashValue == nil || img.Location == "" {
		return fault.New(fault.NotFound, "image %s has no data", img.ID)
	}
	_, err, _ := s.pulls.Do(img.Location, func() (any, error) {
		if s.files.has(img.Location) {
			return nil, nil
		}
		var errs []error
		ctx := context.WithoutCancel(ctx)
		for _, peer := range s.cfg.Peers.others() {
			err := s.pullFrom(ctx, peer, img)
			if err == nil {
				s.log.InfoContext(ctx, "image data copied", "image_id", img.ID, "peer", peer)
				return nil, nil
			}
			errs = append(errs, fmt.Errorf("%s: %w", peer, err))
		}
		return nil, errors.Join(errs...)
	})
	return err
}

func (s *Service) pullFrom(ctx context.Context, peer string, img *Image) error {
	ctx, watch := quietly(ctx)
	defer watch.stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, peer+StorePath+img.Location, nil)
	if err != nil {
		return err
	}
	resp, err := s.peerClient().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	size := int64(-1)
	if img.Size != nil {
		size = *img.Size
	}
	return s.keep(img.Location, watch.reader(resp.Body), *img.OSHashValue, size)
}

// keep writes data that comes from a peer under its location if it is what its
// checksum says.
func (s *Service) keep(loc string, body io.Reader, sum string, size int64) error {
	id, _, err := splitLocation(loc)
	if err != nil {
		return err
	}
	part := s.process + "-copy" + ids.Hex()[:20] // the janitor knows whose it is
	file, err := s.files.create(id, part)
	if err != nil {
		return err
	}
	defer func() {
		_ = file.Close()
		_ = s.files.removePartial(id, part)
	}()
	hash := sha512.New()
	n, err := io.Copy(io.MultiWriter(file, hash), body)
	switch {
	case err != nil:
		return err
	case size >= 0 && n != size:
		return fmt.Errorf("%d bytes came instead of %d", n, size)
	case hex.EncodeToString(hash.Sum(nil)) != sum:
		return errors.New("the data does not have the checksum of the image")
	}
	return s.files.publishAs(file, s.files.partial(id, part), loc)
}

// pullEvery is the pause between two looks for data that is not here.
const pullEvery = 30 * time.Second

// sweepCopies fetches the data of images that is not here yet.
func (s *Service) sweepCopies(ctx context.Context) error {
	if len(s.cfg.Peers.others()) == 0 {
		return nil
	}
	now := s.clock.Now()
	if !s.pulled.IsZero() && now.Sub(s.pulled) < pullEvery {
		return nil
	}
	s.pulled = now
	for after := ""; ; {
		page, err := s.selectStored(ctx, after)
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			after = page[i].ID
			if s.files.has(page[i].Location) {
				continue
			}
			if err := s.pull(ctx, &page[i]); err != nil {
				s.log.WarnContext(ctx, "image data not copied, the janitor tries again", "image_id", page[i].ID, "error", err)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
}

// ServePeers serves StorePath to other servers' image services: the caller
// has made sure that it is one of them.
func (s *Service) ServePeers(w http.ResponseWriter, r *http.Request) {
	loc := strings.TrimPrefix(r.URL.Path, StorePath)
	id, upload, err := splitLocation(loc)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		f, err := s.files.open(loc)
		if err != nil {
			http.Error(w, "not here", http.StatusNotFound)
			return
		}
		defer f.Close()
		if st, err := f.Stat(); err == nil {
			w.Header().Set(sizeHeader, strconv.FormatInt(st.Size(), 10))
		}
		http.ServeContent(w, r, "", time.Time{}, f)
	case http.MethodPut:
		s.takeCopy(w, r, id, upload, loc)
	default:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

// takeCopy takes the data of an upload that runs on another server. Data that
// no image is waiting for is refused.
func (s *Service) takeCopy(w http.ResponseWriter, r *http.Request, id, upload, loc string) {
	owned, err := s.ownsFile(r.Context(), id, upload)
	if err == nil && !owned {
		http.Error(w, "no such upload", http.StatusConflict)
		return
	}
	if err == nil {
		err = s.keep(loc, http.MaxBytesReader(w, r.Body, s.cfg.MaxImageBytes), r.Header.Get(hashHeader), r.ContentLength)
	}
	if err != nil {
		s.log.WarnContext(r.Context(), "image data of a peer not kept", "image_id", id, "error", err)
		http.Error(w, err.Error(), http.StatusInsufficientStorage)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

// splitLocation takes a location apart and refuses what is none: it becomes a
// path.
func splitLocation(loc string) (id, upload string, err error) {
	dir, name, _ := strings.Cut(loc, "/")
	id, upload, ok := strings.Cut(name, ".")
	if !ok || !ids.IsUUID(id) || dir != id[:2] || upload == "" || strings.ContainsAny(upload, "/.\\\x00") || len(upload) > 100 {
		return "", "", fmt.Errorf("%.100q is no location of image data", loc)
	}
	return id, upload, nil
}

// A watch ends a transfer in which nothing has moved for a while.
type watch struct {
	timer  *time.Timer
	cancel context.CancelFunc
}

func quietly(ctx context.Context) (context.Context, *watch) {
	ctx, cancel := context.WithCancel(ctx)
	return ctx, &watch{time.AfterFunc(peerQuiet, cancel), cancel}
}

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel()
}

func (w *watch) reader(r io.Reader) io.Reader { return &watched{r, w} }

type watched struct {
	io.Reader
	watch *watch
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	w.watch.timer.Reset(peerQuiet)
	return n, err
}

// has tells whether data is in this directory.
func (f *fileStore) has(location string) bool {
	_, err := os.Stat(f.path(location))
	return err == nil
}
