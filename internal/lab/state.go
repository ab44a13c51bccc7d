package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
)

// state is what a lab remembers. What is, is read from the machine: who runs
// from the control groups, which cable is in from the links.
type state struct {
	Name string `json:"name"`
	// Layers are the lower directories of the servers' overlays, top first.
	Layers []string `json:"layers"`
	// Bonding is true where the kernel bonds by itself.
	Bonding bool     `json:"bonding"`
	Cuts    []string `json:"cuts"`
	Drops   []Loss   `json:"drops"`
	// Kernel are the settings of the machine that were raised for this lab, as
	// they were before.
	Kernel map[string]string `json:"kernel"`
}

func (l *Lab) load() (*state, error) {
	b, err := os.ReadFile(l.stateFile())
	if errors.Is(err, os.ErrNotExist) {
		return &state{Name: l.name}, nil
	}
	if err != nil {
		return nil, err
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("read %s: %w; remove the lab with: hastack lab down %s", l.stateFile(), err, l.name)
	}
	return &s, nil
}

func (l *Lab) save(s *state) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return config.WriteFile(l.stateFile(), append(b, '\n'), 0o644)
}

// change runs f under the lab's lock and keeps what it made of the state. The
// state is saved before f's error is looked at: what f did is done.
func (l *Lab) change(ctx context.Context, f func(*state) error) error {
	unlock, err := lock(ctx, filepath.Join(l.dir, "lock"))
	if err != nil {
		return fmt.Errorf("lab %s: %w", l.name, err)
	}
	defer unlock()
	s, err := l.load()
	if err != nil {
		return err
	}
	err = f(s)
	return errors.Join(err, l.save(s))
}

// lock takes a file lock, however long another process holds it, until ctx ends.
func lock(ctx context.Context, path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && !same(f, path) {
			return nil, errors.Join(fmt.Errorf("%s was removed while this command waited for it", path), f.Close())
		}
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("another command holds %s: %w", path, ctx.Err()), f.Close())
		case <-clock.System.After(10 * time.Millisecond):
		}
	}
}

// same tells whether the file is still the one of that name.
func same(f *os.File, path string) bool {
	a, err := f.Stat()
	b, err2 := os.Stat(path)
	return err == nil && err2 == nil && os.SameFile(a, b)
}

func listed(stateDir string) string {
	names, err := List(stateDir)
	if err != nil || len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func with(list []string, item string, in bool) []string {
	list = slices.DeleteFunc(list, func(x string) bool { return x == item })
	if in {
		list = append(list, item)
	}
	return list
}
