package deploy

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/topology"
)

// The key repositories of Keystone, in the cluster directory and below KeysDir
// on the control servers: files named by numbers, 0 staged, the highest
// primary, as Keystone itself keeps them.
const (
	fernetKeys     = "fernet-keys"
	credentialKeys = "credential-keys"
)

// activeKeys is how many Fernet keys are kept at least: the staged one, the
// primary and two older. tokenLife is how long a key is kept after it ceased to
// be primary, however often keys are rotated: a token outlives none of its keys.
const (
	activeKeys = 4
	tokenLife  = 24 * time.Hour
)

// keysPart puts Keystone's keys on the control servers. It has no units: a
// Keystone reads its keys again by itself, at once for a token that it cannot
// open.
func keysPart() *Part {
	return &Part{
		Name:    "keys",
		Servers: func(t *topology.Topology) []*topology.Server { return t.With(topology.RoleControl) },
		Want: func(c *Context, _ *topology.Server) (*Want, error) {
			w := &Want{Dirs: []Directory{{Path: keysDir, Owner: serviceUser, Group: serviceUser, Mode: 0o700}}}
			for _, name := range []string{fernetKeys, credentialKeys} {
				if err := keyDir(filepath.Join(c.Cluster.Path, name)).want(w, filepath.Join(keysDir, name)); err != nil {
					return nil, err
				}
			}
			return w, nil
		},
	}
}

// retired is how many numbers below the oldest key are removed from servers.
const retired = 16

// A keyDir is one repository in the cluster directory.
type keyDir string

// ensure makes the repository where it is missing, and the staged key where a
// rotation was cut short.
func (d keyDir) ensure() error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	have, err := d.read()
	if err != nil {
		return err
	}
	numbers := []int{0}
	if len(have) == 0 {
		numbers = []int{0, 1}
	}
	for _, n := range numbers {
		if _, ok := have[n]; ok {
			continue
		}
		if err := d.make(n); err != nil {
			return err
		}
	}
	return nil
}

// make writes key n whole or not at all, and never over another: several
// servers' wants are made at the same time.
func (d keyDir) make(n int) error {
	var raw [32]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	tmp := filepath.Join(string(d), ".new-"+rand.Text())
	defer os.Remove(tmp)
	err := config.WriteFile(tmp, []byte(base64.URLEncoding.EncodeToString(raw[:])), 0o600)
	if err == nil {
		err = os.Link(tmp, d.file(n))
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keys: %w", err)
	}
	return nil
}

func (d keyDir) file(n int) string { return filepath.Join(string(d), strconv.Itoa(n)) }

// read returns the keys by number.
func (d keyDir) read() (map[int][]byte, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	keys := map[int][]byte{}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || n < 0 {
			continue
		}
		b, err := os.ReadFile(d.file(n))
		if err != nil {
			return nil, fmt.Errorf("keys: %w", err)
		}
		if raw, err := base64.URLEncoding.DecodeString(strings.TrimSpace(string(b))); err != nil || len(raw) != 32 {
			return nil, fmt.Errorf("keys: %s is not a Fernet key: restore it from a backup", d.file(n))
		}
		keys[n] = b
	}
	return keys, nil
}

// rotate makes the staged key primary, stages a new one and forgets keys that no
// living token is made with. The staged key must be on every server before: then
// each opens what any other seals, in whatever order they get the new set.
func (d keyDir) rotate(now time.Time) error {
	if err := d.ensure(); err != nil {
		return err
	}
	keys, err := d.read()
	if err != nil {
		return err
	}
	numbers := slices.Sorted(maps.Keys(keys))
	primary := d.file(numbers[len(numbers)-1] + 1)
	if err := os.Rename(d.file(0), primary); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	// A primary key's file tells when it became so.
	if err := os.Chtimes(primary, now, now); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if err := d.ensure(); err != nil {
		return err
	}
	if keys, err = d.read(); err != nil {
		return err
	}
	numbers = slices.Sorted(maps.Keys(keys))
	for len(numbers) > activeKeys {
		st, err := os.Stat(d.file(numbers[2]))
		if err != nil {
			return fmt.Errorf("keys: %w", err)
		}
		if now.Sub(st.ModTime()) < tokenLife {
			return nil // what the oldest key made may still live
		}
		if err := os.Remove(d.file(numbers[1])); err != nil {
			return fmt.Errorf("keys: %w", err)
		}
		numbers = slices.Delete(numbers, 1, 2)
	}
	return nil
}

// want adds the repository as it must be on a control server: these keys and
// no older ones. Keystone reads them again by itself.
func (d keyDir) want(w *Want, at string) error {
	if err := d.ensure(); err != nil {
		return err
	}
	keys, err := d.read()
	if err != nil {
		return err
	}
	w.Dirs = append(w.Dirs, Directory{Path: at, Owner: serviceUser, Group: serviceUser, Mode: 0o700})
	numbers := slices.Sorted(maps.Keys(keys))
	// The new keys come before the old ones go.
	for _, n := range slices.Backward(numbers) {
		w.Files = append(w.Files, File{
			Path: filepath.Join(at, strconv.Itoa(n)), Owner: serviceUser, Group: serviceUser, Mode: 0o600, Content: keys[n], Secret: true,
		})
	}
	if len(numbers) > 1 {
		for n := max(1, numbers[1]-retired); n < numbers[1]; n++ {
			w.Absent = append(w.Absent, filepath.Join(at, strconv.Itoa(n)))
		}
	}
	return nil
}
