package deploy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/topology"
)

// A backup is a compressed tar file, readable by its owner only:
//
//	backup.json         what it is
//	databases.sql.gz    all databases of the services, of one moment
//	cluster/…           the cluster directory: topology, secrets, authority, keys
//
// Image data, disks of servers and metrics are not in it: they are too large for
// one file, and live on several servers or with their owners.
const (
	backupAbout   = "backup.json"
	backupDump    = "databases.sql.gz"
	backupCluster = "cluster/"
	backupFormat  = 1
)

// A BackupAbout says what a backup is of.
type BackupAbout struct {
	Format  int       `json:"format"`
	Cluster string    `json:"cluster"`
	Release string    `json:"release"`
	Taken   time.Time `json:"taken"`
}

// leftOut tells what a backup leaves out of the cluster directory: binaries, and
// certificates that the authority issues again.
func leftOut(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return first == "releases" || first == "tls" || strings.HasSuffix(name, ".lock") || strings.HasPrefix(filepath.Base(name), ".")
}

// Backup writes the state of the control plane to a new file. It reads one
// database member, in one transaction, and stops nothing.
func Backup(ctx context.Context, c *Context, file string) error {
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("%s is there already: name a new file", file)
	}
	c.progress().Begin("databases", 1)
	dump, err := os.CreateTemp(filepath.Dir(file), ".hastack-dump-*")
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer func() {
		_ = dump.Close()
		_ = os.Remove(dump.Name())
	}()
	from, err := c.fetchDump(ctx, dump)
	if err != nil {
		return err
	}
	c.progress().End("from " + from)
	out, err := os.CreateTemp(filepath.Dir(file), ".hastack-backup-*")
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer os.Remove(out.Name())
	about := BackupAbout{Format: backupFormat, Cluster: c.Topology.Name, Release: c.Release, Taken: c.Clock.Now().UTC()}
	err = errors.Join(writeBackup(out, about, c.Cluster.Path, dump), out.Chmod(0o600), out.Sync(), out.Close())
	if err == nil {
		err = os.Link(out.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

func writeBackup(w io.Writer, about BackupAbout, dir string, dump *os.File) error {
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	b, err := json.Marshal(about)
	if err != nil {
		return err
	}
	if err := addBytes(t, backupAbout, b, about.Taken); err != nil {
		return err
	}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || e.IsDir() || !e.Type().IsRegular() || leftOut(name) {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return addBytes(t, backupCluster+filepath.ToSlash(name), b, about.Taken)
	})
	if err != nil {
		return err
	}
	st, err := dump.Stat()
	if err != nil {
		return err
	}
	if _, err := dump.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: backupDump, Mode: 0o600, Size: st.Size(), ModTime: about.Taken}); err != nil {
		return err
	}
	_, err = io.Copy(t, dump)
	return errors.Join(err, t.Close(), z.Close())
}

func addBytes(t *tar.Writer, name string, b []byte, at time.Time) error {
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(b)), ModTime: at}); err != nil {
		return err
	}
	_, err := t.Write(b)
	return err
}

// dumpChunk is how much of a dump is fetched at once.
const dumpChunk = 32 << 20

// dumpFile is where a dump lies on a server while it is carried.
const dumpFile = "/var/lib/hastack/deploy/databases.sql.gz"

// fetchDump dumps all databases on the last control server that can (the writer
// is most often another) and fetches the dump.
func (c *Context) fetchDump(ctx context.Context, to io.Writer) (from string, err error) {
	var errs []error
	for _, s := range slices.Backward(c.Topology.With(topology.RoleControl)) {
		if err := c.dumpFrom(ctx, s, to); err != nil {
			errs = append(errs, named(s, err))
			continue
		}
		return s.Name, nil
	}
	return "", fmt.Errorf("no database member could be dumped: %w", errors.Join(errs...))
}

func (c *Context) dumpFrom(ctx context.Context, s *topology.Server, to io.Writer) error {
	script := `set -eu; umask 077; f=` + dumpFile + `
state=$(mariadb -Ne "SHOW STATUS LIKE 'wsrep_local_state_comment'" | cut -f2)
[ "$state" = Synced ] || { echo "the database is not in sync: $state" >&2; exit 1; }
mkdir -p "${f%/*}"; rm -f $f; p=$f.sql; trap 'rm -f $p' EXIT
mariadb-dump --single-transaction --quick --skip-lock-tables --hex-blob --add-drop-database --databases ` +
		strings.Join(databases(), " ") + ` > $p
tail -n 1 $p | grep -q 'Dump completed' || { echo "the dump is not whole" >&2; exit 1; }
gzip -c $p > $f; stat -c %s $f`
	out, err := c.Run(ctx, s, script, nil)
	if err != nil {
		return err
	}
	var size int64
	if _, err := fmt.Sscan(string(out), &size); err != nil {
		return fmt.Errorf("the size of the dump: %w", err)
	}
	for at := int64(0); at < size; at += dumpChunk {
		b, err := c.Run(ctx, s, fmt.Sprintf("tail -c +%d %s | head -c %d", at+1, dumpFile, dumpChunk), nil)
		if err != nil {
			return err
		}
		if int64(len(b)) != min(dumpChunk, size-at) {
			return fmt.Errorf("the dump broke off at %d of %d bytes", at+int64(len(b)), size)
		}
		if _, err := to.Write(b); err != nil {
			return err
		}
	}
	_, err = c.Run(ctx, s, "rm -f "+dumpFile, nil)
	return err
}

// readBackup tells what a backup is of, returns the cluster directory's files by
// name, and writes the dump to dump.
func readBackup(file string, dump io.Writer) (about BackupAbout, files map[string][]byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return about, nil, fmt.Errorf("read backup: %w", err)
	}
	defer f.Close()
	wrong := func(err error) (BackupAbout, map[string][]byte, error) {
		return about, nil, fmt.Errorf("%s is no backup of a cluster, or damaged: %w", file, err)
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return wrong(err)
	}
	files = map[string][]byte{}
	whole := false
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return wrong(err)
		}
		switch name, inside := strings.CutPrefix(h.Name, backupCluster); {
		case h.Name == backupAbout:
			err = json.NewDecoder(io.LimitReader(t, 1<<20)).Decode(&about)
		case h.Name == backupDump:
			_, err = io.Copy(dump, t)
			whole = true
		case inside && filepath.IsLocal(name) && h.Size < 16<<20:
			var b bytes.Buffer
			_, err = io.Copy(&b, io.LimitReader(t, 16<<20))
			files[name] = b.Bytes()
		default:
			err = fmt.Errorf("it holds %q", h.Name)
		}
		if err != nil {
			return wrong(err)
		}
	}
	if about.Format != backupFormat {
		return wrong(fmt.Errorf("format %d, this version reads %d", about.Format, backupFormat))
	}
	if !whole || len(files[cluster.TopologyFile]) == 0 {
		return wrong(errors.New("it is not whole"))
	}
	return about, files, nil
}
