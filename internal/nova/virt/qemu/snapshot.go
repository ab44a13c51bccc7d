package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/virt"
)

// Snapshot implements virt.Driver. The running QEMU copies its own disk as it
// was at one moment while the guest goes on; for a stopped server a QEMU is
// started for it that never runs the guest. So no other program opens a disk
// that a guest wrote, and none ever guesses a format.
func (d *Driver) Snapshot(ctx context.Context, id string) (*virt.Snapshot, error) {
	s, err := d.load(id)
	if err != nil {
		return nil, err
	}
	g := d.running(id)
	if g == nil {
		if exists(d.path(id, fileSuspend)) {
			return nil, fault.New(fault.Conflict, "server %s is suspended", id)
		}
		if g, err = d.launch(ctx, s, start{paused: true, noNICs: true, env: envTemporary}); err != nil {
			return nil, err
		}
		defer func() { _ = d.end(context.WithoutCancel(ctx), g) }()
	}
	size, err := g.rootSize(ctx)
	if err != nil {
		return nil, err
	}
	path := d.path(id, fileSnapshot)
	if err := remove(path); err != nil {
		return nil, err
	}
	snap := &virt.Snapshot{Path: path, Format: "qcow2", VirtualSize: size, Remove: func() { _ = remove(path) }}
	if err := d.copyRoot(ctx, g, path, size); err != nil {
		snap.Remove()
		return nil, err
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	snap.Size = st.Size()
	return snap, nil
}

func (g *guest) rootSize(ctx context.Context) (int64, error) {
	var nodes []struct {
		Name  string `json:"node-name"`
		Image struct {
			Size int64 `json:"virtual-size"`
		} `json:"image"`
	}
	if err := g.mon.ask(ctx, "query-named-block-nodes", map[string]any{"flat": true}, &nodes); err != nil {
		return 0, err
	}
	for _, n := range nodes {
		if n.Name == nodeRoot {
			return n.Image.Size, nil
		}
	}
	return 0, errors.New("qemu has no root disk")
}

const (
	snapshotJob = "snapshot"
	snapshotFD  = 4096 // an fd set that no disk has
)

// copyRoot lets QEMU copy its root disk, base included, into a new qcow2.
func (d *Driver) copyRoot(ctx context.Context, g *guest, path string, size int64) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := writeQcow2(f, size, "", ""); err != nil {
		return err
	}
	g.dropSnapshot(ctx) // what an earlier agent may have left
	if _, err := g.mon.doWithFile(ctx, "add-fd", map[string]any{"fdset-id": snapshotFD}, f); err != nil {
		return err
	}
	defer func() { g.dropSnapshot(context.WithoutCancel(ctx)) }()
	events, stop := g.subscribe("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED")
	defer stop()
	_, err = g.mon.do(ctx, "blockdev-add", map[string]any{"driver": "qcow2", "node-name": "snapshot",
		"file": map[string]any{"driver": "file", "node-name": "snapshot-file", "filename": fmt.Sprintf("/dev/fdset/%d", snapshotFD)}})
	if err != nil {
		return err
	}
	_, err = g.mon.do(ctx, "blockdev-backup", map[string]any{"job-id": snapshotJob, "device": nodeRoot, "target": "snapshot", "sync": "full"})
	if err != nil {
		return err
	}
	return g.awaitJob(ctx, events)
}

func (g *guest) awaitJob(ctx context.Context, events <-chan qmpEvent) error {
	for {
		select {
		case e := <-events:
			var job struct {
				Device string `json:"device"`
				Error  string `json:"error"`
			}
			if err := json.Unmarshal(e.Data, &job); err != nil || job.Device != snapshotJob {
				continue
			}
			if job.Error != "" || e.Name == "BLOCK_JOB_CANCELLED" {
				return fmt.Errorf("copy of the root disk: %s %s", e.Name, job.Error)
			}
			return nil
		case <-g.gone:
			return errMonitorClosed
		case <-ctx.Done():
			_, err := g.mon.do(context.WithoutCancel(ctx), "block-job-cancel", map[string]any{"device": snapshotJob, "force": true})
			return errors.Join(ctx.Err(), err)
		}
	}
}

// dropSnapshot takes the copy's node and descriptor out of QEMU. Each may be
// missing.
func (g *guest) dropSnapshot(ctx context.Context) {
	_, _ = g.mon.do(ctx, "blockdev-del", map[string]any{"node-name": "snapshot"})
	_, _ = g.mon.do(ctx, "blockdev-del", map[string]any{"node-name": "snapshot-file"})
	_, _ = g.mon.do(ctx, "remove-fd", map[string]any{"fdset-id": snapshotFD})
}
