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
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// suites are the packages below internal/acceptance/openstack that are run.
var suites = [...]string{
	"identity/v3", "compute/v2", "image/v2", "placement/v1", "networking/v2", "networking/v2/extensions",
	"networking/v2/extensions/layer3",
}

// timeout bounds the whole run.
const timeout = 20 * time.Minute

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
	list := flag.Args()
	if len(list) == 0 {
		list = suites[:]
	}
	results, err := run(ctx, *hastack, list, *only)
	if err == nil {
		err = report(results, *status, *update, *verbose, *only == "" && flag.NArg() == 0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, hastack string, list []string, only string) ([]result, error) {
	c, err := startCloud(ctx, hastack)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	env, err := c.environment(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := checkout(ctx)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var results []result
	for _, suite := range list {
		r, err := runSuite(ctx, dir, suite, only, env)
		if err != nil {
			return nil, fmt.Errorf("suite %s: %w", suite, err)
		}
		results = append(results, r...)
	}
	return results, nil
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
	return dir, nil
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
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), env...), os.Stderr
	cmd.Env = append(cmd.Env, "GOFLAGS=-mod=mod")
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
	if len(results) == 0 && only == "" {
		return nil, errors.New("ran no test")
	}
	return results, ctx.Err()
}
