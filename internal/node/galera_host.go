package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
)

// Where the database lies on its server; package deploy puts it there.
const (
	galeraUnit     = "mariadb.service"
	galeraData     = "/var/lib/mysql"
	galeraPosition = "/run/hastack-galera/position" // written by the unit at each start
	galeraOrder    = "/run/hastack-new-cluster"     // taken by the unit's next start: begin the cluster
	galeraHold     = "/run/hastack-galera-hold"     // this agent stopped the database, and has to start it again
)

// noPosition is the position of a server that holds nothing.
const noPosition = "00000000-0000-0000-0000-000000000000:-1"

// A database without this much room fails its members: it is taken out before.
const (
	galeraFull  = 48 << 20
	galeraSpace = 3 * galeraFull // and comes back with so much
)

// galeraHost is what recovery does to the server that it runs on.
type galeraHost interface {
	// position is what the data contains, UUID:SEQNO, of a database that does
	// not serve; "" when that cannot be known now.
	position(ctx context.Context, seen Galera) (string, error)
	// room is nil as long as the file system has room to write.
	room() error
	roomy() bool
	// stopped tells that the database does not run and nothing will start it.
	stopped(ctx context.Context) (bool, error)
	stop(ctx context.Context, hard bool) error
	start(ctx context.Context) error
	// forget makes the database unable to begin a cluster from the members that
	// it saw last. It must not run.
	forget() error
	// order lets the next start, within a minute, begin the cluster.
	order() error
	// held tells why this agent stopped the database, "" if it did not.
	held() string
	setHeld(why string) error
}

// systemdHost is the machine.
type systemdHost struct{}

// unit reads the state of the database's unit.
func (h systemdHost) unit(ctx context.Context) (active, sub string, started time.Time, err error) {
	err = withSystemd(ctx, func(c *dbus.Conn) error {
		p, err := c.GetUnitPropertiesContext(ctx, galeraUnit)
		if err != nil {
			return fmt.Errorf("ask systemd for %s: %w", galeraUnit, err)
		}
		active, _ = p["ActiveState"].(string)
		sub, _ = p["SubState"].(string)
		s, err := c.GetUnitTypePropertyContext(ctx, galeraUnit, "Service", "ExecMainStartTimestamp")
		if err != nil {
			return fmt.Errorf("ask systemd for %s: %w", galeraUnit, err)
		}
		if us, ok := s.Value.Value().(uint64); ok && us > 0 {
			started = time.UnixMicro(int64(us))
		}
		return nil
	})
	return active, sub, started, err
}

func (h systemdHost) stopped(ctx context.Context) (bool, error) {
	active, _, _, err := h.unit(ctx)
	return active == "inactive" || active == "failed", err
}

func (h systemdHost) position(ctx context.Context, seen Galera) (string, error) {
	if seen.Cluster != "" { // it runs, without a quorum
		return fmt.Sprintf("%s:%d", seen.Cluster, seen.Committed), nil
	}
	active, sub, started, err := h.unit(ctx)
	switch {
	case err != nil:
		return "", err
	case active == "inactive" || active == "failed":
		return writtenPosition(galeraData)
	case sub != "start":
		return "", nil
	}
	// It looks for the others. What it found before that counts, if it is of
	// this start and not of one before.
	info, err := os.Stat(galeraPosition)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil || info.ModTime().Before(started) {
		return "", err
	}
	b, err := os.ReadFile(galeraPosition)
	p := strings.TrimSpace(string(b))
	if err == nil && !strings.Contains(p, ":") {
		return "", nil // being written
	}
	return p, err
}

// writtenPosition is what a clean stop wrote down; "" after any other end.
func writtenPosition(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "grastate.dat"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(dir, "ibdata1")); errors.Is(err, fs.ErrNotExist) {
			return noPosition, nil
		}
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the database's position: %w", err)
	}
	v := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			v[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	if v["uuid"] == "" || v["seqno"] == "" || v["seqno"] == "-1" {
		return "", nil
	}
	return v["uuid"] + ":" + v["seqno"], nil
}

func free() (int64, error) {
	var st syscall.Statfs_t
	err := syscall.Statfs(galeraData, &st)
	if errors.Is(err, syscall.ENOENT) {
		err = syscall.Statfs(filepath.Dir(galeraData), &st)
	}
	if err != nil {
		return 0, fmt.Errorf("look at %s: %w", galeraData, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // the field's type differs between architectures
}

func (systemdHost) room() error {
	n, err := free()
	if err == nil && n < galeraFull {
		err = fmt.Errorf("the disk is full: %d MiB are left in %s, %d are needed", n>>20, galeraData, galeraFull>>20)
	}
	return err
}

func (systemdHost) roomy() bool {
	n, err := free()
	return err == nil && n >= galeraSpace
}

// stop ends the database. One that looks for others does not listen to a
// polite request, and one that has no quorum has nothing to finish: every
// transaction that it acknowledged is in its log.
func (h systemdHost) stop(ctx context.Context, hard bool) error {
	return withSystemd(ctx, func(c *dbus.Conn) error {
		done := make(chan string, 1)
		if _, err := c.StopUnitContext(ctx, galeraUnit, "replace", done); err != nil {
			return fmt.Errorf("stop %s: %w", galeraUnit, err)
		}
		if hard {
			_ = c.KillUnitWithTarget(ctx, galeraUnit, dbus.All, int32(syscall.SIGKILL)) // it may have ended by itself: the wait below tells
		}
		select {
		case r := <-done:
			if r != "done" {
				return fmt.Errorf("stop %s: %s", galeraUnit, r)
			}
			return nil
		case <-ctx.Done():
			return fmt.Errorf("stop %s: %w", galeraUnit, ctx.Err())
		}
	})
}

// start does not wait: a member that joins may take its time.
func (h systemdHost) start(ctx context.Context) error {
	return withSystemd(ctx, func(c *dbus.Conn) error {
		// Killed by us it counts as failed, which is nothing to remember.
		_ = c.ResetFailedUnitContext(ctx, galeraUnit)
		if _, err := c.StartUnitContext(ctx, galeraUnit, "replace", nil); err != nil {
			return fmt.Errorf("start %s: %w", galeraUnit, err)
		}
		return nil
	})
}

func (systemdHost) forget() error {
	err := os.Remove(filepath.Join(galeraData, "gvwstate.dat"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (systemdHost) order() error { return os.WriteFile(galeraOrder, nil, 0o600) }

func (systemdHost) held() string {
	b, err := os.ReadFile(galeraHold)
	if err != nil {
		return ""
	}
	return string(b)
}

func (systemdHost) setHeld(why string) error {
	if why == "" {
		err := os.Remove(galeraHold)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return os.WriteFile(galeraHold, []byte(why), 0o600)
}
