// Command compat runs gophercloud's own acceptance tests against a cloud made
// by `hastack up --ephemeral --driver fake`, and prints which of them pass.
//
//	go run ./test/compat -hastack bin/hastack [-update doc/status.md] [-run REGEX] [PACKAGE...]
//
// It fails when fewer than half of the tests that ran pass, or when a test
// passes no more that doc/status.md says passed.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// suites are the packages below internal/acceptance/openstack that are run.
// The lists run beside each other; what is in one list runs one after another,
// because tests of one service count what there is.
var suites = [...][]string{
	{"identity/v3", "image/v2", "placement/v1"},
	{"compute/v2"},
	{
		"networking/v2", "networking/v2/extensions", "networking/v2/extensions/layer3", "networking/v2/extensions/agents",
		"networking/v2/extensions/dns", "networking/v2/extensions/mtu", "networking/v2/extensions/networkipavailabilities",
		"networking/v2/extensions/portsbinding", "networking/v2/extensions/quotas", "networking/v2/extensions/rbacpolicies",
		"networking/v2/extensions/subnetpools",
	},
}

const (
	// timeout bounds the whole run.
	timeout = 15 * time.Minute
	// patience replaces the ten minutes that a test waits for a state: what is
	// not there by then never comes.
	patience = "45"
)

func main() {
	hastack := flag.String("hastack", "bin/hastack", "the binary under test")
	update := flag.String("update", "", "write the table into this Markdown file")
	only := flag.String("run", "", "only tests that match")
	status := flag.String("status", "doc/status.md", "the table of the last run")
	verbose := flag.Bool("v", false, "print the output of failed tests")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	lists := suites[:]
	if flag.NArg() > 0 {
		lists = [][]string{flag.Args()}
	}
	results, err := run(ctx, *hastack, lists, *only)
	if err == nil {
		err = report(results, *status, *update, *verbose, *only == "" && flag.NArg() == 0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, hastack string, lists [][]string, only string) ([]result, error) {
	c, err := startCloud(ctx, hastack)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	web := httptest.NewServer(http.HandlerFunc(answerWeb))
	defer web.Close()
	env, err := c.environment(ctx, web.URL)
	if err != nil {
		return nil, err
	}
	dir, err := checkout(ctx)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var mu sync.Mutex
	var results []result
	group, ctx := errgroup.WithContext(ctx)
	for _, list := range lists {
		group.Go(func() error {
			for _, suite := range list {
				r, err := runAs(ctx, dir, suite, only, env, c.personas())
				if err != nil {
					return fmt.Errorf("suite %s: %w", suite, err)
				}
				mu.Lock()
				results = append(results, r...)
				mu.Unlock()
			}
			return nil
		})
	}
	return results, group.Wait()
}

// answerWeb stands for the rest of the web, of which tests want one image, so
// that a run needs no network.
func answerWeb(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, ".img") {
		http.Error(w, r.URL.Redacted()+" is not in the web of a test", http.StatusNotFound)
		return
	}
	_, _ = w.Write(emptyQCOW2())
}

// emptyQCOW2 is a disk of 8 MiB that holds nothing.
func emptyQCOW2() []byte {
	const cluster = 1 << 16
	b := make([]byte, 4*cluster)
	copy(b, "QFI\xfb")
	be := binary.BigEndian
	be.PutUint32(b[4:], 2)          // version
	be.PutUint32(b[20:], 16)        // bits of a cluster
	be.PutUint64(b[24:], 8<<20)     // size of the disk
	be.PutUint32(b[36:], 1)         // entries of the first table
	be.PutUint64(b[40:], 3*cluster) // where that is
	be.PutUint64(b[48:], cluster)   // where the table of reference counts is
	be.PutUint32(b[56:], 1)         // its clusters
	be.PutUint64(b[cluster:], 2*cluster)
	for i := range 4 {
		be.PutUint16(b[2*cluster+2*i:], 1)
	}
	return b
}

// runAs runs a suite as the first persona, and what the others are wanted for
// as them.
func runAs(ctx context.Context, dir, suite, only string, env []string, personas []persona) ([]result, error) {
	results, err := runSuite(ctx, dir, suite, only, append(personas[0].env, env...))
	if err != nil {
		return nil, err
	}
	if len(results) == 0 && only == "" {
		return nil, errors.New("ran no test")
	}
	for _, p := range personas[1:] {
		var names []string
		for _, r := range results {
			if r.action == "skip" && strings.Contains(r.output, p.skipText) {
				names = append(names, r.name)
			}
		}
		if len(names) == 0 {
			continue
		}
		again, err := runSuite(ctx, dir, suite, "^("+strings.Join(names, "|")+")$", append(p.env, env...))
		if err != nil {
			return nil, err
		}
		results = slices.DeleteFunc(results, func(r result) bool { return slices.Contains(names, r.name) })
		results = append(results, again...)
	}
	return results, nil
}

// withoutOpenStack is this process's environment less what would tell the
// tests of another cloud.
func withoutOpenStack() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "OS_") })
}

// checkout copies gophercloud out of the module cache, where it cannot be
// built as a main module.
func checkout(ctx context.Context) (string, error) {
	src, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/gophercloud/gophercloud/v2").Output()
	if err != nil {
		return "", fmt.Errorf("find gophercloud: %w", err)
	}
	dir, err := os.MkdirTemp("", "hastack-compat-")
	if err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, os.DirFS(strings.TrimSpace(string(src)))); err != nil {
		return "", errors.Join(fmt.Errorf("copy gophercloud: %w", err), os.RemoveAll(dir))
	}
	if err := shortenWaits(filepath.Join(dir, "internal/acceptance/tools/tools.go")); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

func shortenWaits(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	short := strings.Replace(string(b), "600*time.Second", patience+"*time.Second", 1)
	if short == string(b) {
		return fmt.Errorf("%s waits in another way than it did", file)
	}
	return os.WriteFile(file, []byte(short), 0o600)
}

// event is a line of go test -json.
type event struct {
	Action, Test, Output string
	Elapsed              float64
}

func runSuite(ctx context.Context, dir, suite, only string, env []string) ([]result, error) {
	args := []string{"test", "-tags", "acceptance", "-count", "1", "-timeout", "15m", "-json"}
	if only != "" {
		args = append(args, "-run", only)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./internal/acceptance/openstack/"+suite)...)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(withoutOpenStack(), env...), os.Stderr
	cmd.Env = append(cmd.Env, "GOFLAGS=-mod=mod")
	// The test binary is a child of go test and goes with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	output := map[string]string{}
	var results []result
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		if e.Test == "" {
			if e.Action == "build-fail" {
				return nil, errors.New("does not build")
			}
			continue
		}
		switch e.Action {
		case "output":
			output[e.Test] += e.Output
		case "pass", "fail", "skip":
			if strings.Contains(e.Test, "/") {
				output[filepath.Dir(e.Test)] += output[e.Test]
				continue
			}
			results = append(results, result{suite, e.Test, e.Action, output[e.Test]})
			fmt.Printf("%-5s %s %s (%.1f s)\n", e.Action, suite, e.Test, e.Elapsed)
		}
	}
	// A failed test makes go test fail; which ones is in the results.
	_ = cmd.Wait()
	return results, ctx.Err()
}
