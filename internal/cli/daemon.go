package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
)

// A daemon is the process of a one-machine cloud, as its run file tells.
type daemon struct {
	PID    int    `json:"pid"`
	Listen string `json:"listen"`
	Driver string `json:"driver"`
}

func runFile(dir string) string    { return filepath.Join(dir, "run", "cloud.json") }
func lockFile(dir string) string   { return filepath.Join(dir, "run", "lock") }
func logFile(dir string) string    { return filepath.Join(dir, "log", "hastack.log") }
func configFile(dir string) string { return filepath.Join(dir, "hastack.yaml") }

// lockState takes the lock that the cloud's process holds as long as it lives.
// It returns nil without an error when another process has it.
func lockState(dir string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Join(dir, "run"), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(lockFile(dir), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, nil
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}

// findDaemon is the running cloud of a state directory, nil if there is none.
// The lock decides, not the process id, which may be another's by now.
func findDaemon(dir string) (*daemon, error) {
	if _, err := os.Stat(lockFile(dir)); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	f, err := lockState(dir)
	if err != nil {
		return nil, err
	}
	if f != nil {
		return nil, f.Close()
	}
	b, err := os.ReadFile(runFile(dir))
	if err != nil {
		return nil, fmt.Errorf("a cloud is starting or stopping in %s: try again in a moment (%w)", dir, err)
	}
	var d daemon
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("read %s: %w", runFile(dir), err)
	}
	return &d, nil
}

// spawnDaemon starts the cloud's process in a session of its own.
func spawnDaemon(dir string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(logFile(dir)), 0o750); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(logFile(dir), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := []string{self, "serve", "all", "--config", configFile(dir), "--state-dir", dir}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the cloud: %w", err)
	}
	return cmd, nil
}

// health is what /healthcheck answers.
type health struct {
	Ready   bool     `json:"ready"`
	Waiting []string `json:"waiting"`
}

func checkHealth(ctx context.Context, listen string) (*health, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+listen+"/healthcheck", nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var h health
	err = json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&h)
	return &h, err
}

// waitReady waits until the cloud on listen is ready, telling what is awaited.
// died ends the wait when the process is gone.
func waitReady(ctx context.Context, listen string, died <-chan error, tell func(string)) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	waiting := "the process"
	for {
		if h, err := checkHealth(ctx, listen); err == nil {
			if h.Ready {
				return nil
			}
			waiting = strings.Join(h.Waiting, " ")
			tell("waiting for " + waiting)
		}
		select {
		case err := <-died:
			return fmt.Errorf("the cloud ended at its start: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("the cloud is not ready after %s, it waits for %s", startTimeout, waiting)
		case <-clock.System.After(20 * time.Millisecond):
		}
	}
}

// stop ends the cloud's process and waits until it has let go of its lock.
func (d *daemon) stop(ctx context.Context, dir string) error {
	if err := syscall.Kill(d.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop process %d: %w", d.PID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	for {
		f, err := lockState(dir)
		if err != nil {
			return err
		}
		if f != nil {
			return f.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d has not stopped after %s; its log is %s", d.PID, stopTimeout, logFile(dir))
		case <-clock.System.After(20 * time.Millisecond):
		}
	}
}

// writeRunFile says where the cloud is, once it holds the lock.
func writeRunFile(dir string, d daemon) error {
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return config.WriteFile(runFile(dir), b, 0o644)
}

// tail is the last errors of a log, for a cloud that did not start.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	last := lines[len(lines)-1]
	var rec struct {
		Msg   string `json:"msg"`
		Error string `json:"error"`
	}
	if json.Unmarshal([]byte(last), &rec) == nil && rec.Msg != "" {
		return strings.TrimSpace(rec.Msg + " " + rec.Error)
	}
	return last
}
