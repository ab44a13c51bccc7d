package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/virt"
)

// The files of a server's directory.
const (
	fileServer    = "server.json"
	fileRoot      = "disk.qcow2"
	fileEphemeral = "ephemeral0.raw"
	fileSwap      = "swap.raw"
	fileDrive     = "config.iso"
	fileConsole   = "console.log"
	fileOldLog    = "console.log.1"
	fileErrors    = "qemu.log"
	filePID       = "qemu.pid"
	fileMonitor   = "qmp.sock"
	fileAgent     = "qga.sock"
	fileSuspend   = "suspend.img"
	fileResuming  = "resuming"
	fileSnapshot  = "snapshot.qcow2"
)

func (d *Driver) dir(id string) string { return filepath.Join(d.cfg.StateDir, "servers", id) }

func (d *Driver) path(id, file string) string { return filepath.Join(d.dir(id), file) }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// load reads a server's definition. The id comes from outside, so it must be a
// UUID before it becomes part of a path.
func (d *Driver) load(id string) (*virt.Server, error) {
	if !ids.IsUUID(id) {
		return nil, fault.New(fault.NotFound, "server %q is not on this host", id)
	}
	b, err := os.ReadFile(d.path(id, fileServer))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "server %s is not on this host", id)
	}
	if err != nil {
		return nil, err
	}
	s := new(virt.Server)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("definition of server %s: %w", id, err)
	}
	return s, nil
}

// save replaces a server's definition so that it survives a power cut whole.
func (d *Driver) save(s *virt.Server) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := d.path(s.ID, fileServer)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// serverIDs lists the directories of servers, half-made ones too.
func (d *Driver) serverIDs() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(d.cfg.StateDir, "servers"))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() && ids.IsUUID(e.Name()) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}
