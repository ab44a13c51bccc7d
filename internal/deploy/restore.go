package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/topology"
)

// LoadBackup tells what a backup is of without restoring it.
func LoadBackup(file string) (BackupAbout, error) {
	about, _, err := readBackup(file, io.Discard)
	return about, err
}

// RestoreDirectory makes a cluster directory out of a backup. The directory
// must not be there, or be empty.
func RestoreDirectory(file, dir string) error {
	_, files, err := readBackup(file, io.Discard)
	if err != nil {
		return err
	}
	if have, err := os.ReadDir(dir); err == nil && len(have) > 0 {
		return fmt.Errorf("%s is not empty: a cluster directory is restored into a new one", dir)
	}
	tmp := dir + ".restoring"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	for name, b := range files {
		path := filepath.Join(tmp, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := config.WriteFile(path, b, 0o600); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Rename(tmp, dir)
}

// Restore puts the databases of a backup into a deployed cluster, which must be
// the one that the backup is of: its directory has the same secrets. What was
// written since the backup is lost. The services stop meanwhile; servers and
// networks run on.
func Restore(ctx context.Context, c *Context, file string) (err error) {
	dump, err := os.CreateTemp(c.Cluster.Path, ".dump-*")
	if err != nil {
		return err
	}
	defer func() {
		_ = dump.Close()
		_ = os.Remove(dump.Name())
	}()
	_, files, err := readBackup(file, dump)
	if err != nil {
		return err
	}
	if err := c.sameCluster(files); err != nil {
		return err
	}
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	control := c.Topology.With(topology.RoleControl)
	if len(control) == 0 {
		return errors.New("the topology has no server with the role control")
	}
	c.progress().Begin("services", len(control))
	var names []string
	for _, r := range controlRoles() {
		names = append(names, r.unit())
	}
	stop := "systemctl stop " + strings.Join(names, " ")
	if err := c.Everywhere(ctx, control, func(ctx context.Context, s *topology.Server) error {
		_, err := c.Run(ctx, s, stop, nil)
		return err
	}); err != nil {
		return fmt.Errorf("every control server must answer, or its services would go on with the old data: %w", err)
	}
	c.progress().End("stopped")
	c.progress().Begin("databases", 1)
	if err := c.loadDump(ctx, control[0], dump); err != nil {
		return fmt.Errorf("%w; the services stay stopped: run it again", err)
	}
	if err := syncDatabases(ctx, c, control[0], command); err != nil {
		return err
	}
	c.progress().End("restored")
	return c.startServices(ctx, control, names)
}

// sameCluster compares the secrets of the backup with those of the directory.
func (c *Context) sameCluster(files map[string][]byte) error {
	for _, name := range []string{config.SecretsFile, "ca/ca.pem"} {
		b, err := os.ReadFile(filepath.Join(c.Cluster.Path, name))
		if err != nil {
			return fmt.Errorf("compare the backup with the cluster: %w", err)
		}
		if !bytes.Equal(b, files[name]) {
			return fmt.Errorf("the backup is of another cluster than the one in %s (its %s differs): restore it into a directory of its own, deploy from there, then restore again", c.Cluster.Path, name)
		}
	}
	return nil
}

func (c *Context) loadDump(ctx context.Context, s *topology.Server, dump *os.File) error {
	if _, err := dump.Seek(0, io.SeekStart); err != nil {
		return err
	}
	const script = `set -eu; umask 077; f=` + dumpFile + `; mkdir -p "${f%/*}"; trap 'rm -f $f' EXIT
cat > $f; gzip -t $f
state=$(mariadb -Ne "SHOW STATUS LIKE 'wsrep_local_state_comment'" | cut -f2)
[ "$state" = Synced ] || { echo "the database is not in sync: $state" >&2; exit 1; }
gzip -dc $f | mariadb`
	_, err := c.Run(ctx, s, script, dump)
	return err
}

func (c *Context) startServices(ctx context.Context, control []*topology.Server, names []string) error {
	c.progress().Begin("services", len(control))
	err := c.Everywhere(ctx, control, func(ctx context.Context, s *topology.Server) error {
		if _, err := c.Run(ctx, s, "systemctl start "+strings.Join(names, " "), nil); err != nil {
			return err
		}
		return waitServices(ctx, c, s, controlRoles())
	})
	if err == nil {
		c.progress().End("ready")
	}
	return err
}
