package firstday

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
)

// image uploads the guest image. An upload that was cut off before leaves an
// image that never became active: it is taken up again.
func (c *content) image(ctx context.Context) error {
	if c.cfg.ImageFile == "" {
		return nil
	}
	sc, err := openstack.NewImageV2(c.admin, c.opts())
	if err != nil {
		return err
	}
	found, err := all(ctx, images.List(sc, images.ListOpts{Name: Image}), images.ExtractImages)
	if err != nil {
		return err
	}
	var queued *images.Image
	for i, img := range found {
		switch img.Status {
		case images.ImageStatusActive:
			return nil
		case images.ImageStatusQueued:
			queued = &found[i]
		}
	}
	if queued == nil {
		public := images.ImageVisibilityPublic
		queued, err = images.Create(ctx, sc, images.CreateOpts{
			Name: Image, DiskFormat: "qcow2", ContainerFormat: "bare", Visibility: &public,
			Properties: map[string]string{"os_distro": "debian", "hw_rng_model": "virtio"},
		}).Extract()
		if err != nil {
			return fmt.Errorf("create image %s: %w", Image, err)
		}
	}
	return c.upload(ctx, sc, queued.ID)
}

func (c *content) upload(ctx context.Context, sc *gophercloud.ServiceClient, id string) error {
	f, err := os.Open(c.cfg.ImageFile)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	body := &reporting{Reader: f, total: st.Size(), tell: func(s string) { c.cfg.Progress("image", s) }}
	if err := imagedata.Upload(ctx, sc, id, body).ExtractErr(); err != nil {
		return fmt.Errorf("upload image %s: %w", Image, err)
	}
	return nil
}

// reporting tells how much has been read, in tenths.
type reporting struct {
	io.Reader
	done, total int64
	said        int64
	tell        func(string)
}

func (r *reporting) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.done += int64(n)
	if r.total > 0 {
		if tenth := r.done * 10 / r.total; tenth != r.said {
			r.said = tenth
			r.tell(fmt.Sprintf("%d %%", tenth*10))
		}
	}
	return n, err
}
