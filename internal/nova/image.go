package nova

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/openstack"
)

// imageInfo is what Nova wants to know of an image before it boots one.
type imageInfo struct {
	ID         string
	Name       string
	Status     string
	MinDiskGB  int
	MinRAMMB   int
	Size       int64
	Properties map[string]string
}

// image asks Glance, with the user's own token, for an image.
func (s *Service) image(ctx context.Context, id *authtoken.Identity, imageID string) (*imageInfo, error) {
	if !ids.IsUUID(imageID) {
		return nil, fault.New(fault.BadRequest, "Invalid imageRef provided.")
	}
	return s.images.get(id.ProjectID+"/"+imageID, func() (*imageInfo, error) {
		clients, err := s.clients.ForUser(ctx, id)
		if err != nil {
			return nil, err
		}
		sc, err := clients.Image(ctx)
		if err != nil {
			return nil, err
		}
		var raw map[string]json.RawMessage
		if _, err := sc.Get(ctx, sc.ServiceURL("images", imageID), &raw, nil); err != nil {
			err = openstack.Fault(err)
			if fault.Is(err, fault.NotFound) {
				return nil, fault.New(fault.BadRequest, "Image %s could not be found.", imageID)
			}
			return nil, fmt.Errorf("ask glance for image %s: %w", imageID, err)
		}
		return parseImage(raw)
	})
}

// imageColumns are the fields of an image that are not properties for drivers.
const imageColumns = " id name status min_disk min_ram size visibility checksum os_hash_algo os_hash_value file schema self " +
	"created_at updated_at owner tags container_format disk_format protected virtual_size os_hidden locations direct_url stores "

func parseImage(raw map[string]json.RawMessage) (*imageInfo, error) {
	img := &imageInfo{Properties: map[string]string{}}
	for name, into := range map[string]any{"id": &img.ID, "name": &img.Name, "status": &img.Status,
		"min_disk": &img.MinDiskGB, "min_ram": &img.MinRAMMB, "size": &img.Size} {
		if v, ok := raw[name]; ok {
			if err := json.Unmarshal(v, into); err != nil {
				return nil, fmt.Errorf("glance's field %s: %w", name, err)
			}
		}
	}
	for name, v := range raw {
		var text string
		if strings.Contains(imageColumns, " "+name+" ") || json.Unmarshal(v, &text) != nil {
			continue
		}
		img.Properties[name] = text
	}
	return img, nil
}

// fits tells why the flavor cannot hold the image.
func (img *imageInfo) fits(f *Flavor) error {
	switch {
	case img.Status != "active":
		return fault.New(fault.BadRequest, "Image %s is not active.", img.ID)
	case f.MemoryMB < img.MinRAMMB:
		return fault.New(fault.BadRequest, "Flavor's memory is too small for requested image.")
	case f.RootGB > 0 && f.RootGB < img.MinDiskGB:
		return fault.New(fault.BadRequest, "Flavor's disk is too small for requested image. Flavor disk is %d bytes, minimum size is %d bytes.",
			int64(f.RootGB)<<30, int64(img.MinDiskGB)<<30)
	case f.RootGB > 0 && img.Size > int64(f.RootGB)<<30:
		return fault.New(fault.BadRequest, "Flavor's disk is too small for requested image. Flavor disk is %d bytes, image is %d bytes.",
			int64(f.RootGB)<<30, img.Size)
	}
	return nil
}

func (img *imageInfo) snapshot() rpc.Image {
	return rpc.Image{ID: img.ID, Name: img.Name, MinDiskGB: img.MinDiskGB, Properties: img.Properties}
}

// createSnapshotImage makes the queued image that a host will fill.
func (s *Service) createSnapshotImage(ctx context.Context, id *authtoken.Identity, srv *Server, name string, metadata map[string]string) (string, error) {
	clients, err := s.clients.ForUser(ctx, id)
	if err != nil {
		return "", err
	}
	sc, err := clients.Image(ctx)
	if err != nil {
		return "", err
	}
	body := map[string]any{
		"name": name, "disk_format": "qcow2", "container_format": "bare", "visibility": "private",
		"min_disk": srv.Flavor.RootGB, "min_ram": 0,
		"instance_uuid": srv.ID, "image_type": "snapshot", "base_image_ref": srv.ImageID, "user_id": srv.UserID,
	}
	for k, v := range metadata {
		if _, taken := body[k]; !taken && !strings.Contains(imageColumns, " "+k+" ") {
			body[k] = v
		}
	}
	var out struct {
		ID string `json:"id"`
	}
	if _, err := sc.Post(ctx, sc.ServiceURL("images"), body, &out, nil); err != nil {
		return "", openstack.Fault(err)
	}
	return out.ID, nil
}

// deleteSnapshotImage removes an image that no snapshot will fill. One that is
// gone already is no error.
func (s *Service) deleteSnapshotImage(ctx context.Context, imageID string) error {
	sc, err := s.clients.Image(ctx)
	if err != nil {
		return err
	}
	_, err = sc.Delete(ctx, sc.ServiceURL("images", imageID), nil)
	if err = openstack.Fault(err); fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
