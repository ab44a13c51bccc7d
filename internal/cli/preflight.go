package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// minFree is the disk space below which a cloud is not started, in bytes.
const minFree = 2 << 30

// tools are the programs that a cloud with real servers runs, and the Debian
// package of each.
var tools = [...]struct{ program, pkg string }{
	{"qemu-system-x86_64", "qemu-system-x86"},
	{"qemu-img", "qemu-utils"},
	{"dnsmasq", "dnsmasq-base"},
	{"nft", "nftables"},
	{"ip", "iproute2"},
	{"genisoimage", "genisoimage"},
}

// preflight says in one sentence what is missing on this machine.
func preflight(stateDir, listen, driver string) error {
	if err := freeSpace(stateDir); err != nil {
		return err
	}
	if err := portFree(listen); err != nil {
		return err
	}
	if driver == "fake" {
		return nil
	}
	const without = "or try the cloud without servers: bin/hastack up --driver fake --ephemeral"
	if os.Geteuid() != 0 {
		return errors.New("cannot create network namespaces: run as root (sudo make up), " + without)
	}
	var missing []string
	for _, t := range tools {
		if _, err := exec.LookPath(t.program); err != nil {
			missing = append(missing, t.pkg)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("programs are missing: install them (make deps, or apt-get install %s), %s", strings.Join(missing, " "), without)
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return errors.New("/dev/net/tun is missing: load the module (modprobe tun), " + without)
	}
	return nil
}

func portFree(listen string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		if errors.Is(err, unix.EADDRINUSE) {
			return fmt.Errorf("address %s is taken by another program: stop it, or choose another (--listen 127.0.0.1:5050)", listen)
		}
		return fmt.Errorf("cannot serve on %s: %w; choose another address (--listen)", listen, err)
	}
	return l.Close()
}

func freeSpace(dir string) error {
	for dir != "/" {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < minFree {
		return fmt.Errorf("only %d MiB are free on the disk of %s: free some (%d MiB are needed), or move the cloud (--state-dir)", free>>20, dir, minFree>>20)
	}
	return nil
}
