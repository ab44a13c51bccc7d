package compute

import (
	"context"
	"io"
	"path/filepath"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
)

const (
	taskRebuildSpawning = "rebuild_spawning"
	taskImageUploading  = "image_uploading"
	stoppedState        = "stopped"
)

// Rebuild implements rpc.Compute. The new image is on the host and verified
// before anything of the old disk is touched.
func (a *Agent) Rebuild(ctx context.Context, in rpc.ServerOp) error {
	return a.do(ctx, in, rpc.MethodRebuild, func(ctx context.Context, t *task) (rpc.Result, error) {
		if err := t.info(ctx, ""); err != nil {
			return rpc.Result{}, err
		}
		var base virt.Base
		err := t.step(ctx, rpc.Step{Name: "image"}, func() (string, error) {
			var err error
			base, err = a.base(ctx, t.spec)
			return "", err
		})
		if err != nil {
			return rpc.Result{}, err
		}
		if err := t.tell(ctx, taskRebuildSpawning); err != nil {
			return rpc.Result{}, err
		}
		err = t.step(ctx, rpc.Step{Name: "hypervisor"}, func() (string, error) { return "", a.replaceDisk(ctx, t.spec, base) })
		if err != nil {
			return rpc.Result{}, err
		}
		state := "active"
		if t.spec.VMState == stoppedState {
			state = stoppedState
		}
		return rpc.Result{VMState: state, PowerState: a.powerState(ctx, in.ServerID)}, nil
	})
}

// base is the verified base of a server's image.
func (a *Agent) base(ctx context.Context, spec *rpc.ServerSpec) (virt.Base, error) {
	img, err := a.images.Image(ctx, spec.Image.ID)
	if err != nil {
		return virt.Base{}, err
	}
	if img.Status != "active" {
		return virt.Base{}, fault.New(fault.BadRequest, "image %s is %s, not active", img.ID, img.Status)
	}
	if a.cache == nil {
		return virt.Base{}, nil
	}
	base, _, err := a.cache.Base(ctx, img, spec.Flavor.RootGB, func(ctx context.Context) (io.ReadCloser, error) {
		return a.images.Data(ctx, img.ID)
	})
	return base, err
}

func (a *Agent) replaceDisk(ctx context.Context, spec *rpc.ServerSpec, base virt.Base) error {
	if err := a.driver.Stop(ctx, spec.ID, 0); err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if err := a.driver.DropDisks(ctx, spec.ID); err != nil {
		return err
	}
	def, err := definition(spec, base, spec.Networks)
	if err != nil {
		return err
	}
	if err := a.driver.Define(ctx, def); err != nil {
		return err
	}
	if spec.VMState == stoppedState {
		return nil
	}
	return a.driver.Start(ctx, spec.ID)
}

// Snapshot implements rpc.Compute. An image that could not be filled is
// discarded, so that it does not stay queued for ever.
func (a *Agent) Snapshot(ctx context.Context, in rpc.SnapshotArgs) error {
	return a.do(ctx, in.ServerOp, rpc.MethodSnapshot, func(ctx context.Context, t *task) (rpc.Result, error) {
		if err := t.info(ctx, ""); err != nil {
			return rpc.Result{}, err
		}
		err := a.snapshot(ctx, t, in.ImageID)
		if err != nil && cleanupAfter(ctx, err) {
			if dropErr := a.images.Discard(context.WithoutCancel(ctx), in.ImageID); dropErr != nil {
				a.log.WarnContext(ctx, "image of a snapshot not discarded", "image_id", in.ImageID, "error", dropErr)
			}
		}
		return rpc.Result{PowerState: a.powerState(ctx, in.ServerID)}, err
	})
}

func (a *Agent) snapshot(ctx context.Context, t *task, imageID string) error {
	var snap *virt.Snapshot
	err := t.step(ctx, rpc.Step{Name: "hypervisor"}, func() (string, error) {
		var err error
		snap, err = a.driver.Snapshot(ctx, t.op.ServerID)
		return "", err
	})
	if snap != nil {
		defer snap.Remove()
	}
	if err != nil {
		return err
	}
	if err := t.tell(ctx, taskImageUploading); err != nil {
		return err
	}
	const gib = 1 << 30
	return t.step(ctx, rpc.Step{Name: "upload"}, func() (string, error) {
		minDisk := int((snap.VirtualSize + gib - 1) / gib)
		return filepath.Base(snap.Path), a.images.Upload(ctx, imageID, snap.Format, minDisk, snap.Path)
	})
}
