package lab

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/config"
)

// masked are units of a plain Debian that make no sense in a lab: they look for
// updates where there is no way out, or for a screen.
var masked = [...]string{"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
	"e2scrub_reap.service", "fstrim.timer", "man-db.timer", "console-getty.service", "getty@tty1.service"}

// chronyDropIn lets chrony run beside a clock that is not the server's.
const chronyDropIn = `# The clock of a lab server is that of the machine below: follow it, never set it.
[Service]
ExecStart=
ExecStart=!/usr/sbin/chronyd -x $DAEMON_OPTS
`

const journalDropIn = "[Journal]\nSystemMaxUse=48M\nRuntimeMaxUse=16M\n"

// ensureKey makes the key that the operator enters the servers with.
func (l *Lab) ensureKey() error {
	if _, err := os.Stat(l.Key() + ".pub"); err == nil {
		return nil
	}
	private, public, err := newKey("hastack-lab-" + l.name)
	if err != nil {
		return err
	}
	// The public half last: it says that both are there.
	return errors.Join(config.WriteFile(l.Key(), private, 0o600), config.WriteFile(l.Key()+".pub", public, 0o644))
}

func newKey(comment string) (private, public []byte, err error) {
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(priv, comment)
	if err != nil {
		return nil, nil, err
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(block), ssh.MarshalAuthorizedKey(key), nil
}

// prepare makes a server's disk, once: an overlay over the shared root with a
// name, an identity and host keys of its own.
func (l *Lab) prepare(server string) error {
	dir := l.serverDir(server)
	done := filepath.Join(dir, "prepared")
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for _, d := range []string{"upper/root/.ssh", "upper/etc/ssh", "upper/etc/default", "upper/etc/systemd/system/chrony.service.d",
		"upper/etc/systemd/journald.conf.d", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	upper := filepath.Join(dir, "upper")
	if err := os.Chmod(filepath.Join(upper, "root"), 0o700); err != nil {
		return err
	}
	if err := l.identity(server, upper); err != nil {
		return err
	}
	for _, unit := range masked {
		if err := os.Symlink("/dev/null", filepath.Join(upper, "etc/systemd/system", unit)); err != nil {
			return err
		}
	}
	// The key types that the shared root has would be the same on all servers.
	for _, kind := range []string{"rsa", "ecdsa"} {
		for _, suffix := range []string{"", ".pub"} {
			whiteout := filepath.Join(upper, "etc/ssh", "ssh_host_"+kind+"_key"+suffix)
			if err := unix.Mknod(whiteout, unix.S_IFCHR, 0); err != nil {
				return fmt.Errorf("make %s: %w", whiteout, err)
			}
		}
	}
	return os.WriteFile(done, nil, 0o644)
}

func (l *Lab) identity(server, upper string) error {
	public, err := os.ReadFile(l.Key() + ".pub")
	if err != nil {
		return err
	}
	hostKey, hostPub, err := newKey("root@" + server)
	if err != nil {
		return err
	}
	id := hash(l.name, server, "machine-id", string(hostPub))
	hosts := fmt.Sprintf("127.0.0.1 localhost\n127.0.1.1 %s.%s %s\n::1 localhost ip6-localhost ip6-loopback\n", server, l.topology.Domain, server)
	for _, f := range []struct {
		path, content string
		mode          os.FileMode
	}{
		{"root/.ssh/authorized_keys", string(public), 0o600},
		{"etc/hostname", server + "\n", 0o644},
		{"etc/hosts", hosts, 0o644},
		{"etc/machine-id", hex.EncodeToString(id[:16]) + "\n", 0o444},
		{"etc/resolv.conf", "", 0o644},
		{"etc/default/locale", "LANG=C.UTF-8\n", 0o644},
		{"etc/ssh/ssh_host_ed25519_key", string(hostKey), 0o600},
		{"etc/ssh/ssh_host_ed25519_key.pub", string(hostPub), 0o644},
		{"etc/systemd/system/chrony.service.d/lab.conf", chronyDropIn, 0o644},
		{"etc/systemd/journald.conf.d/lab.conf", journalDropIn, 0o644},
	} {
		if err := os.WriteFile(filepath.Join(upper, f.path), []byte(f.content), f.mode); err != nil {
			return err
		}
	}
	return os.Chmod(filepath.Join(upper, "root/.ssh"), 0o700)
}
