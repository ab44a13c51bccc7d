package compute

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
	"github.com/hastack/hastack/internal/nova/virt/imagecache"
	"github.com/hastack/hastack/internal/openstack"
)

// imageAPI is what the agent needs of Glance.
type imageAPI interface {
	Image(ctx context.Context, id string) (imagecache.Image, error)
	Data(ctx context.Context, id string) (io.ReadCloser, error)
	// Upload fills a queued image from a file.
	Upload(ctx context.Context, id, format string, minDiskGB int, path string) error
	// Discard removes an image that never became active.
	Discard(ctx context.Context, id string) error
}

// bootImage is steps 19 to 21.
func (a *Agent) bootImage(ctx context.Context, t *task) (base virt.Base, err error) {
	var img imagecache.Image
	err = t.step(ctx, rpc.Step{N: 19, Name: "ask for the image", Peer: "glance-api", Protocol: rpc.ProtoHTTP}, func() (string, error) {
		img, err = a.images.Image(ctx, t.spec.Image.ID)
		if err == nil && img.Status != "active" {
			err = fault.New(fault.BadRequest, "image %s is %s, not active", img.ID, img.Status)
		}
		return img.Name, err
	})
	if err != nil {
		return base, err
	}
	err = t.step(ctx, rpc.Step{N: 20, Name: "check the token", Actor: "glance-api", Peer: "keystone", Protocol: rpc.ProtoHTTP},
		func() (string, error) { return "within step 19", nil })
	if err != nil {
		return base, err
	}
	err = t.step(ctx, rpc.Step{N: 21, Name: "take the image", Peer: "glance-api", Protocol: rpc.ProtoHTTP}, func() (string, error) {
		if a.cache == nil {
			return "metadata only", nil
		}
		var hit bool
		base, hit, err = a.cache.Base(ctx, img, t.spec.Flavor.RootGB, func(ctx context.Context) (io.ReadCloser, error) {
			return a.images.Data(ctx, img.ID)
		})
		if err != nil {
			return "", err
		}
		if hit {
			return "cache hit", nil
		}
		return fmt.Sprintf("%d bytes", img.Size), nil
	})
	return base, err
}

// glance is imageAPI over Glance's public API, as the service's user.
type glance struct {
	clients *openstack.Clients
}

type imageView struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Status     string `json:"status"`
	DiskFormat string `json:"disk_format"`
	Container  string `json:"container_format"`
	Size       int64  `json:"size"`
	Checksum   string `json:"checksum"`
	HashAlgo   string `json:"os_hash_algo"`
	HashValue  string `json:"os_hash_value"`
	MinDisk    int    `json:"min_disk"`
}

func (g *glance) show(ctx context.Context, id string) (*imageView, error) {
	sc, err := g.clients.Image(ctx)
	if err != nil {
		return nil, err
	}
	v := new(imageView)
	if _, err := sc.Get(ctx, sc.ServiceURL("images", id), v, nil); err != nil {
		return nil, fmt.Errorf("show image %s: %w", id, openstack.Fault(err))
	}
	return v, nil
}

func (g *glance) Image(ctx context.Context, id string) (imagecache.Image, error) {
	v, err := g.show(ctx, id)
	if err != nil {
		return imagecache.Image{}, err
	}
	return imagecache.Image{ID: v.ID, Name: v.Name, Status: v.Status, DiskFormat: v.DiskFormat, Size: v.Size,
		Checksum: v.Checksum, HashAlgo: v.HashAlgo, HashValue: v.HashValue, MinDiskGB: v.MinDisk}, nil
}

// stream sends a request whose body may take longer than any other call's
// limit, so it goes without the client's timeout; ctx bounds it.
func (g *glance) stream(ctx context.Context, method, url string, body io.Reader, size int64) (*http.Response, error) {
	client := *g.clients.HTTPClient()
	client.Timeout = 0
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	token, err := g.clients.Token(ctx, false)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Auth-Token", token)
	if body != nil {
		req.ContentLength = size
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "glance did not answer")
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
	_ = resp.Body.Close()
	return nil, fault.New(fault.KindOfStatus(resp.StatusCode), "glance answered %d: %s", resp.StatusCode, text)
}

// withToken repeats a call once with a fresh token when the one at hand has
// run out.
func (g *glance) withToken(ctx context.Context, f func() error) error {
	err := f()
	if !fault.Is(err, fault.Unauthorized) {
		return err
	}
	if _, err := g.clients.Token(ctx, true); err != nil {
		return err
	}
	return f()
}

func (g *glance) Data(ctx context.Context, id string) (body io.ReadCloser, err error) {
	sc, err := g.clients.Image(ctx)
	if err != nil {
		return nil, err
	}
	err = g.withToken(ctx, func() error {
		resp, err := g.stream(ctx, http.MethodGet, sc.ServiceURL("images", id, "file"), nil, 0)
		if err == nil {
			body = resp.Body
		}
		return err
	})
	return body, err
}

// Upload fills an image. An image that is active already was filled by a call
// whose end nobody saw.
func (g *glance) Upload(ctx context.Context, id, format string, minDiskGB int, path string) error {
	v, err := g.show(ctx, id)
	if err != nil {
		return err
	}
	if v.Status == "active" {
		return nil
	}
	sc, err := g.clients.Image(ctx)
	if err != nil {
		return err
	}
	if patch := describe(v, format, minDiskGB); len(patch) > 0 {
		_, err := sc.Patch(ctx, sc.ServiceURL("images", id), patch, nil, &gophercloud.RequestOpts{OkCodes: []int{200},
			MoreHeaders: map[string]string{"Content-Type": "application/openstack-images-v2.1-json-patch"}})
		if err != nil {
			return fmt.Errorf("describe image %s: %w", id, openstack.Fault(err))
		}
	}
	return g.withToken(ctx, func() error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return err
		}
		resp, err := g.stream(ctx, http.MethodPut, sc.ServiceURL("images", id, "file"), f, st.Size())
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
}

// describe is the JSON patch by which a queued image says what it will hold.
func describe(v *imageView, format string, minDiskGB int) []map[string]any {
	var patch []map[string]any
	set := func(path string, value any) {
		patch = append(patch, map[string]any{"op": "replace", "path": "/" + path, "value": value})
	}
	if v.DiskFormat != format {
		set("disk_format", format)
	}
	if v.Container == "" {
		set("container_format", "bare")
	}
	if v.MinDisk < minDiskGB {
		set("min_disk", minDiskGB)
	}
	return patch
}

func (g *glance) Discard(ctx context.Context, id string) error {
	v, err := g.show(ctx, id)
	if fault.Is(err, fault.NotFound) || err == nil && v.Status == "active" {
		return nil
	}
	if err != nil {
		return err
	}
	sc, err := g.clients.Image(ctx)
	if err != nil {
		return err
	}
	if _, err := sc.Delete(ctx, sc.ServiceURL("images", id), nil); err != nil {
		if err := openstack.Fault(err); !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return nil
}
