package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netns"

	"github.com/hastack/hastack/internal/clock"
)

// entered marks a process that sits in the operator's namespace of a lab.
const entered = "HASTACK_LAB_ENTERED"

// Enter moves this program into the operator's namespace of a lab: from there,
// and only from there, its servers are reached. It starts the program again
// there and does not return, or it returns nil because there is no lab of that
// name, or because this process is there already. Mounts stay as they are.
func Enter(stateDir, name string) error {
	l, err := Open(stateDir, name)
	if errors.Is(err, ErrNoLab) {
		return nil
	}
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if os.Getenv(entered) == l.dir && inOperator(l) {
		return nil
	}
	return l.execIn(self, append([]string{self}, os.Args[1:]...))
}

// Entered tells that Enter, or Exec, brought this process into a lab.
func Entered() bool { return os.Getenv(entered) != "" }

func inOperator(l *Lab) bool {
	ours, err := os.Stat("/proc/thread-self/ns/net")
	theirs, err2 := os.Stat(l.OperatorNetNS())
	return err == nil && err2 == nil && os.SameFile(ours, theirs)
}

// Exec replaces this process by a program in the operator's namespace.
func (l *Lab) Exec(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	return l.execIn(path, args)
}

func (l *Lab) execIn(path string, args []string) error {
	ns, err := netns.GetFromPath(l.OperatorNetNS())
	if err != nil {
		return fmt.Errorf("lab %s is not whole, its operator's namespace is missing: run hastack lab up again (%w)", l.name, err)
	}
	runtime.LockOSThread() // the thread that has moved is the one that becomes the program
	if err := netns.Set(ns); err != nil {
		return fmt.Errorf("enter the operator's namespace of lab %s: %w (are you root?)", l.name, err)
	}
	env := append(os.Environ(), entered+"="+l.dir)
	return fmt.Errorf("start %s in lab %s: %w", path, l.name, syscall.Exec(path, args, env))
}

// SSH are the arguments of an ssh(1) into a server, for Exec. Host keys are new
// in each lab, and nobody else is on its networks.
func (l *Lab) SSH(server string, command ...string) ([]string, error) {
	if err := l.checkServer(server); err != nil {
		return nil, err
	}
	args := []string{"ssh", "-i", l.Key(), "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5",
		"root@" + l.topology.Server(server).Management().String()}
	return append(args, command...), nil
}

// Dial connects from the operator's namespace; address is an IP and a port.
func (l *Lab) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := inNS(l.nsName(Operator), func() error {
		var err error
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// WaitSSH waits until a server's sshd greets, or ctx ends.
func (l *Lab) WaitSSH(ctx context.Context, server string) error {
	if err := l.checkServer(server); err != nil {
		return err
	}
	address := net.JoinHostPort(l.topology.Server(server).Management().String(), "22")
	for {
		err := l.greeted(ctx, address)
		if err == nil {
			return nil
		}
		if running, e := l.running(server); e == nil && !running && ctx.Err() == nil {
			return fmt.Errorf("server %s went off while it booted; the end of its console: %s", server, l.consoleEnd(server))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("ssh of %s does not answer: %w; the end of its console: %s", server, err, l.consoleEnd(server))
		case <-clock.System.After(100 * time.Millisecond):
		}
	}
}

func (l *Lab) greeted(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := l.Dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	greeting := make([]byte, 4)
	if _, err := conn.Read(greeting); err != nil {
		return err
	}
	if string(greeting) != "SSH-" {
		return fmt.Errorf("%s answers %q instead of ssh", address, greeting)
	}
	return nil
}

func (l *Lab) consoleEnd(server string) string {
	b, err := os.ReadFile(filepath.Join(l.serverDir(server), "console.log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
