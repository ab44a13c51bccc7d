package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/firstday"
	"github.com/hastack/hastack/internal/stack"
)

// announcement is the one line that an ephemeral cloud prints when it is ready.
type announcement struct {
	AuthURL       string `json:"auth_url"`
	Region        string `json:"region"`
	CloudsYAML    string `json:"clouds_yaml"`
	StateDir      string `json:"state_dir"`
	AdminUser     string `json:"admin_user"`
	AdminPassword string `json:"admin_password"`
	DemoUser      string `json:"demo_user"`
	DemoPassword  string `json:"demo_password"`
	PID           int    `json:"pid"`
}

// ephemeral runs a cloud in this process, in a temporary directory on a free
// port, until it is interrupted; then everything is gone.
func (a *app) ephemeral(ctx context.Context, o upOptions) (err error) {
	dir, err := os.MkdirTemp("", "hastack-")
	if err != nil {
		return err
	}
	if o.listen == DefaultListen {
		if o.listen, err = freeAddress(); err != nil {
			return errors.Join(err, os.RemoveAll(dir))
		}
	}
	if err := preflight(dir, o.listen, o.driver); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := prepareState(dir, o); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	cfg, err := config.Load(configFile(dir))
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	cfg.Log.File = filepath.Join(dir, "hastack.log")
	defer func() {
		err = errors.Join(err, stack.Cleanup(context.WithoutCancel(ctx), cfg), os.RemoveAll(dir))
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	announced := make(chan error, 1)
	runErr := a.run(ctx, cfg, []string{"all"}, func() {
		go func() {
			err := a.announce(ctx, cfg, o)
			announced <- err
			if err != nil {
				cancel()
			}
		}()
	})
	select {
	case err := <-announced:
		return errors.Join(runErr, err)
	default:
		return runErr
	}
}

func (a *app) announce(ctx context.Context, cfg *config.Config, o upOptions) error {
	secrets, err := config.LoadSecrets(cfg.StateDir)
	if err != nil {
		return err
	}
	if err := waitReady(ctx, cfg.Listen, nil, func(string) {}); err != nil {
		return err
	}
	fd := a.firstDay(cfg, secrets, o, newProgress(a.err))
	fd.Boot = false
	if _, err := firstday.Ensure(ctx, fd); err != nil {
		if ctx.Err() == nil {
			return err
		}
		return nil // interrupted: the announcement is not wanted any more
	}
	b, err := json.Marshal(announcement{
		AuthURL: cfg.AuthURL(), Region: cfg.Region, CloudsYAML: cloudsFile(cfg.StateDir), StateDir: cfg.StateDir,
		AdminUser: "admin", AdminPassword: secrets.AdminPassword.Reveal(),
		DemoUser: firstday.User, DemoPassword: secrets.DemoPassword.Reveal(), PID: os.Getpid(),
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "%s\n", b)
	return err
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
