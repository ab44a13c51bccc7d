// Package dataplanetest runs tests of the data plane on real kernel objects
// that nobody else sees: each test in a process of its own with fresh network,
// mount and pid namespaces, so that nothing is left when it ends, however it
// ends. Guests are network namespaces whose veth stands for QEMU's tap.
package dataplanetest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const insideEnv = "HASTACK_TEST_INSIDE"

// Isolate returns true in the process where the test has to run. Called in the
// ordinary test process it runs the same test again inside new namespaces,
// passes its outcome on and returns false. It skips without root or tools.
func Isolate(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) == t.Name() {
		if err := settle(); err != nil {
			t.Fatalf("cannot set up the namespaces: %v", err)
		}
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	for _, tool := range []string{"nft", "dnsmasq", "ip", "ping"} {
		if _, err := Tool(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=240s")
	cmd.Env = append(enginesOut(os.Environ()), insideEnv+"="+t.Name())
	cmd.SysProcAttr = &unix.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL,
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if strings.Contains(err.Error(), "operation not permitted") {
			t.Skipf("needs the right to make namespaces: %v", err)
		}
		t.Errorf("inside the namespaces: %v\n%s", err, out.String())
	} else if strings.Contains(out.String(), "--- SKIP") {
		t.Skip(out.String())
	}
	return false
}

// enginesOut drops the engines that suites may run on: on the loopback of this
// namespace, they cannot be reached from a fresh one.
func enginesOut(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, "HASTACK_TEST_") })
}

// settle finishes what clone began: mounts of our own, loopback up.
func settle() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/run/netns", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount /run/netns: %w", err)
	}
	return exec.Command("ip", "link", "set", "lo", "up").Run()
}

// Tool finds a program, also where administrators' programs live.
func Tool(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	return exec.LookPath("/usr/sbin/" + name)
}

// Run runs a command in a named namespace ("" is the host) and returns what
// it printed.
func Run(ns string, words ...string) (string, error) {
	if ns != "" {
		words = append([]string{"nsenter", "--net=/run/netns/" + ns}, words...)
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w\n%s", strings.Join(words, " "), err, out)
	}
	return string(out), nil
}

// Must is Run that ends the test on failure.
func Must(t *testing.T, ns string, words ...string) string {
	t.Helper()
	out, err := Run(ns, words...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Eventually waits until f is true.
func Eventually(t *testing.T, what string, limit time.Duration, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
