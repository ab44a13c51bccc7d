package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// DefaultCache is where the roots that all servers share are kept.
const DefaultCache = "/var/cache/hastack/lab"

// DefaultMirror is where Debian's packages come from.
const DefaultMirror = "http://deb.debian.org/debian"

// A cache keeps the layers that the servers' roots consist of: the base system,
// and the packages of a cluster over it. Each is made once.
type cache struct {
	dir, mirror string
	progress    func(step, detail string)
}

// layers returns the lower directories of an overlay, top first, and makes what
// is missing. It takes minutes and a network once, then none.
func (c *cache) layers(ctx context.Context) ([]string, error) {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, filepath.Join(c.dir, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	base := filepath.Join(c.dir, "base-"+layerKey(BasePackages()))
	if err := c.layer(ctx, base, "base", BasePackages(), c.debootstrap); err != nil {
		return nil, fmt.Errorf("make the servers' base system: %w", err)
	}
	packages := filepath.Join(c.dir, "packages-"+layerKey(BasePackages(), ClusterPackages()))
	err = c.layer(ctx, packages, "packages", ClusterPackages(), func(ctx context.Context, dir string) error {
		return c.install(ctx, base, dir)
	})
	if err != nil {
		return nil, fmt.Errorf("make the servers' packages: %w", err)
	}
	return []string{packages, base}, nil
}

// layer makes a layer unless it is there. One without a key in its name that
// has the packages, made by hand, is taken as it is.
func (c *cache) layer(ctx context.Context, path, plain string, packages []string, build func(context.Context, string) error) error {
	if _, err := os.Stat(filepath.Join(path, "var/lib/dpkg/status")); err == nil {
		return nil
	}
	if hasPackages(filepath.Join(c.dir, plain), packages) {
		c.progress("root", plain+" is taken over")
		_ = os.Remove(path)
		return os.Symlink(plain, path)
	}
	fresh := path + ".new"
	if err := removeTree(fresh); err != nil {
		return err
	}
	if err := os.Mkdir(fresh, 0o755); err != nil {
		return err
	}
	if err := build(ctx, fresh); err != nil {
		return errors.Join(err, removeTree(fresh))
	}
	return os.Rename(fresh, path)
}

// hasPackages tells whether dpkg in a root calls all of them installed.
func hasPackages(root string, packages []string) bool {
	b, err := os.ReadFile(filepath.Join(root, "var/lib/dpkg/status"))
	if err != nil {
		return false
	}
	have := map[string]bool{}
	for entry := range strings.SplitSeq(string(b), "\n\n") {
		name, rest, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(entry), "Package: "), "\n")
		have[name] = strings.Contains(rest, "Status: install ok installed")
	}
	return !slices.ContainsFunc(packages, func(p string) bool { return !have[p] })
}

func (c *cache) debootstrap(ctx context.Context, dir string) error {
	c.progress("root", "debootstrap "+suite)
	program, err := exec.LookPath("debootstrap")
	if err != nil {
		return errors.New("debootstrap is missing: apt-get install debootstrap")
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	args := []string{"--variant=minbase", "--include=" + strings.Join(BasePackages(), ","), suite, dir, c.mirror}
	if err := c.run(ctx, exec.CommandContext(ctx, program, args...)); err != nil {
		return err
	}
	return c.chroot(ctx, dir, "apt-get clean; rm -rf /var/lib/apt/lists/* /var/log/bootstrap.log")
}

// installScript runs in a chroot. Package set-up starts no daemon: policy-rc.d
// denies it. What it enables is disabled again: a deployment says what runs.
const installScript = `set -e
apt-get update -qq
apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 %s
apt-get clean
rm -rf /var/lib/apt/lists/* %s
find /etc/systemd/system -mindepth 1 -type l -newer /tmp/begun ! -name logrotate.timer -delete
mkdir -p /var/lib/mysql && chown mysql:mysql /var/lib/mysql && chmod 755 /var/lib/mysql`

// install fills upper, a layer over base, with the packages of a cluster. Its
// mounts are in a mount namespace that ends with it.
func (c *cache) install(ctx context.Context, base, upper string) error {
	c.progress("root", fmt.Sprintf("installing %d packages", len(ClusterPackages())))
	if err := checkDisk(c.dir); err != nil {
		return err
	}
	work, root := upper+".work", upper+".root"
	defer func() { _ = errors.Join(removeTree(work), removeTree(root)) }()
	for _, d := range []string{work, root} {
		if err := errors.Join(removeTree(d), os.Mkdir(d, 0o755)); err != nil {
			return err
		}
	}
	base, err := filepath.EvalSymlinks(base)
	if err != nil {
		return err
	}
	var data []string
	for _, d := range emptied() {
		data = append(data, "/"+d+"/*", "/"+d+"/.[a-z]*")
	}
	sources := fmt.Sprintf("deb %[1]s %[2]s main\ndeb %[1]s %[2]s-updates main\ndeb %[3]s %[2]s-security main\n",
		c.mirror, suite, strings.TrimSuffix(c.mirror, "/debian")+"/debian-security")
	script := fmt.Sprintf(`set -e
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"
printf '#!/bin/sh\nexit 101\n' > "$4/usr/sbin/policy-rc.d"; chmod 755 "$4/usr/sbin/policy-rc.d"
mount -t proc proc "$4/proc"; mount -t tmpfs tmpfs "$4/tmp"; touch "$4/tmp/begun"
[ -s /etc/resolv.conf ] && cat /etc/resolv.conf > "$4/etc/resolv.conf"
printf '%%s' "$5" > "$4/etc/apt/sources.list"
chroot "$4" sh -c "$6"
rm "$4/usr/sbin/policy-rc.d"`)
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script, "install", base, upper, work, root, sources,
		fmt.Sprintf(installScript, strings.Join(ClusterPackages(), " "), strings.Join(data, " ")))
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	return c.run(ctx, cmd)
}

func (c *cache) chroot(ctx context.Context, dir, script string) error {
	return c.run(ctx, exec.CommandContext(ctx, "chroot", dir, "/bin/sh", "-c", script))
}

// run tells the end of what a program said when it has not worked.
func (c *cache) run(ctx context.Context, cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Args[0]), err, strings.Join(lines[max(0, len(lines)-5):], "; "))
}

// removeTree removes a directory that may hold a half-made system: not across
// mounts, should one be left in it.
func removeTree(dir string) error {
	for _, sub := range []string{"proc", "sys", "dev", "tmp", ""} {
		for unix.Unmount(filepath.Join(dir, sub), unix.MNT_DETACH) == nil {
		}
	}
	return os.RemoveAll(dir)
}
