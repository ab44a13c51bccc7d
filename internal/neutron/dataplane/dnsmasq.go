package dataplane

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A dnsmasqProc is one dnsmasq that outlives this process. It is known by its
// command line, which names its pid file, so a restarted agent finds it again
// and a foreign process with a recycled pid is never taken for it.
type dnsmasqProc struct {
	ns      *namespace
	pidFile string
	args    []string // without the program and the pid file
}

func (p *dnsmasqProc) commandLine(program string) []string {
	return append([]string{program, "--pid-file=" + p.pidFile, "--conf-file=/dev/null", "--user=root", "--group=root"}, p.args...)
}

// find returns the pid of the running process, 0 if there is none, and
// whether it runs with exactly the wanted arguments in the right namespace.
func (p *dnsmasqProc) find() (pid int, right bool) {
	pid = readPid(p.pidFile)
	if pid == 0 {
		return 0, false
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !bytes.Contains(cmdline, []byte("--pid-file="+p.pidFile+"\x00")) {
		return 0, false // dead, a zombie (which has no command line), or someone else
	}
	var there, here unix.Stat_t
	if unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &there) != nil || unix.Fstat(int(p.ns.fd), &here) != nil || there.Ino != here.Ino {
		return pid, false
	}
	words := strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	want := p.commandLine(words[0])
	return pid, strings.Join(words, "\x00") == strings.Join(want, "\x00")
}

func readPid(file string) int {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return 0
	}
	return pid
}

// ensure makes the process run with the wanted arguments. restart replaces a
// running one, to have its files read again: dnsmasq 2.90 of Debian 12 dies of
// a segmentation fault on SIGHUP once it has given leases, which costs seconds
// where a restart costs some 30 ms.
func (p *dnsmasqProc) ensure(restart bool) error {
	pid, right := p.find()
	if pid != 0 && right && !restart {
		return nil
	}
	if pid != 0 {
		stopProcess(pid)
	}
	return p.start()
}

func (p *dnsmasqProc) start() error {
	program, err := findTool("dnsmasq")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(p.pidFile), 0o755); err != nil {
		return err
	}
	_ = os.Remove(p.pidFile)
	words := p.commandLine(program)
	return p.ns.do(func() error {
		// dnsmasq goes to the background by itself once it serves.
		cmd := exec.Command(words[0], words[1:]...)
		cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
		var out bytes.Buffer
		cmd.Stderr = &out
		cmd.WaitDelay = time.Second
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("dnsmasq: %s: %w", strings.TrimSpace(out.String()), err)
		}
		return nil
	})
}

// stop ends the process, if it runs, and forgets its pid file.
func (p *dnsmasqProc) stop() {
	if pid, _ := p.find(); pid != 0 {
		stopProcess(pid)
	}
	_ = os.Remove(p.pidFile)
}

// stopProcess asks a process to end and after a second makes it.
func stopProcess(pid int) {
	_ = unix.Kill(pid, unix.SIGTERM)
	for range 500 {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || len(b) == 0 {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	_ = unix.Kill(pid, unix.SIGKILL)
}
