package nova

import (
	"context"
	"encoding/json"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/operation"
)

// A RebuildRequest replaces a server's root disk; fields that are not set stay.
type RebuildRequest struct {
	ImageID     string
	Name        string
	Hostname    string
	Description httpapi.Nullable[string]
	Metadata    map[string]string // nil leaves it
	DiskConfig  string
	AccessIPv4  httpapi.Nullable[string]
	AccessIPv6  httpapi.Nullable[string]
	KeyName     httpapi.Nullable[string]
	UserData    httpapi.Nullable[string]
}

// Rebuild makes the server's root disk anew from an image; its addresses, its
// host and its allocation stay.
func (s *Service) Rebuild(ctx context.Context, r ActionRequest, in RebuildRequest) error {
	srv := r.Server
	if done, err := s.opOfKey(ctx, r.key()); done != nil || err != nil {
		return err
	}
	if err := checkLock(srv, r.OverrideLock); err != nil {
		return err
	}
	if err := transitions()[ActionRebuild].check(srv, ActionRebuild); err != nil {
		return err
	}
	img, err := s.image(ctx, r.Identity, in.ImageID)
	if err != nil {
		return err
	}
	// The flavor as the server has it: the image must fit the disk there is.
	f := &Flavor{MemoryMB: srv.Flavor.MemoryMB, RootGB: srv.Flavor.RootGB}
	if err := img.fits(f); err != nil {
		return err
	}
	spec := srv.Spec
	spec.Image, spec.RequestID = img.snapshot(), r.RequestID
	set := map[string]any{"image_id": img.ID, "progress": 0}
	if err := s.rebuildFields(ctx, r, &in, &spec, set); err != nil {
		return err
	}
	set["spec"] = asJSON(spec)
	_, err = s.startAction(ctx, r, hostTask{Action: ActionRebuild}, set)
	return err
}

func (s *Service) rebuildFields(ctx context.Context, r ActionRequest, in *RebuildRequest, spec *BootSpec, set map[string]any) error {
	change := ServerChange{Name: in.Name, Hostname: in.Hostname, Description: in.Description, DiskConfig: in.DiskConfig,
		AccessIPv4: in.AccessIPv4, AccessIPv6: in.AccessIPv6}
	if err := change.columns(set); err != nil {
		return err
	}
	if in.Metadata != nil {
		if err := s.checkMetadataQuota(ctx, r.Server.ProjectID, in.Metadata); err != nil {
			return err
		}
		set["metadata"] = asJSON(in.Metadata)
	}
	if in.UserData.Set {
		if err := checkUserData(in.UserData.Value); err != nil {
			return err
		}
		set["user_data"] = nullable(in.UserData.Value)
	}
	if !in.KeyName.Set {
		return nil
	}
	if in.KeyName.Null {
		set["key_name"], set["key_data"], spec.KeyType = nil, nil, ""
		return nil
	}
	kp, err := s.Keypair(ctx, r.Identity.UserID, in.KeyName.Value)
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.BadRequest, "Invalid key_name provided.")
	}
	if err != nil {
		return err
	}
	set["key_name"], set["key_data"], spec.KeyType = kp.Name, kp.PublicKey, kp.Type
	return nil
}

// nullable is NULL for an empty text.
func nullable(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// CreateImage makes an image of the server's root disk. The image exists, and
// is queued, when it returns; the host fills it.
func (s *Service) CreateImage(ctx context.Context, r ActionRequest, name string, metadata map[string]string) (imageID string, err error) {
	if done, err := s.opOfKey(ctx, r.key()); done != nil || err != nil {
		return imageOf(done), err
	}
	if err := checkLock(r.Server, r.OverrideLock); err != nil {
		return "", err
	}
	if err := checkName("image name", name); err != nil {
		return "", err
	}
	if err := s.checkMetadataQuota(ctx, r.Server.ProjectID, metadata); err != nil {
		return "", err
	}
	if err := transitions()[ActionCreateImage].check(r.Server, ActionCreateImage); err != nil {
		return "", err
	}
	if imageID, err = s.createSnapshotImage(ctx, r.Identity, r.Server, name, metadata); err != nil {
		return "", err
	}
	extra, err := json.Marshal(map[string]string{"image_id": imageID})
	if err != nil {
		return "", err
	}
	_, err = s.startAction(ctx, r, hostTask{Action: ActionCreateImage, Extra: extra, ImageID: imageID}, nil)
	if err != nil {
		if undo := s.deleteSnapshotImage(context.WithoutCancel(ctx), imageID); undo != nil {
			s.log.WarnContext(ctx, "remove the image of a snapshot that did not start", "image_id", imageID, "error", undo)
		}
		return "", err
	}
	return imageID, nil
}

// imageOf is the image of a snapshot that was started before.
func imageOf(op *operation.Op) string {
	var task hostTask
	if op == nil || op.DecodeArgs(&task) != nil {
		return ""
	}
	return task.ImageID
}
