package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/firstday"
)

// upOptions are the flags of up.
type upOptions struct {
	listen, driver, image string
	ephemeral, noServer   bool
}

func (a *app) upCommand() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the one-machine cloud and make its first content",
		Long: `Start the one-machine cloud: every service in one process, on loopback, with its
state under one directory. The first time it makes projects, flavors, an image,
networks, a key pair and the server "first"; later it finds them.

With the directory of a deployed cluster as --state-dir it makes the same
content there.`,
		Example: "  sudo hastack up\n  hastack up --ephemeral --driver fake\n  hastack up --state-dir /var/lib/hastack/clusters/three",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.driver != "qemu" && o.driver != "fake" {
				return usageError{fmt.Errorf("driver %q is neither qemu nor fake", o.driver)}
			}
			switch {
			case o.ephemeral:
				return a.ephemeral(cmd.Context(), o)
			case a.isCluster():
				return a.upCluster(cmd.Context(), o)
			case a.isUndeployed():
				return fmt.Errorf("%s is the directory of a cluster that was never deployed: hastack deploy TOPOLOGY", a.stateDir)
			}
			return a.up(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&o.listen, "listen", DefaultListen, "address that the APIs are served on")
	cmd.Flags().StringVar(&o.driver, "driver", "qemu", "hypervisor driver: qemu boots servers, fake only says so")
	cmd.Flags().StringVar(&o.image, "image", "", "bootable qcow2 to upload as the image "+firstday.Image)
	cmd.Flags().BoolVar(&o.ephemeral, "ephemeral", false, "in a temporary directory on a free port, gone at exit (for CI)")
	cmd.Flags().BoolVar(&o.noServer, "no-server", false, "do not boot the server "+firstday.Server)
	return cmd
}

func (a *app) up(ctx context.Context, o upOptions) (err error) {
	p := newProgress(a.out)
	p.begin("cloud", "")
	d, err := findDaemon(a.stateDir)
	if err != nil {
		return err
	}
	if d == nil {
		if d, err = a.start(ctx, o, p); err != nil {
			return err
		}
		// What this command started it also stops when it is cut off, so that
		// nothing half-started stays behind.
		defer func() {
			if err != nil && ctx.Err() != nil {
				err = errors.Join(err, d.stop(context.WithoutCancel(ctx), a.stateDir))
			}
		}()
	}
	p.end(fmt.Sprintf("ready at http://%s", d.Listen))
	cfg, err := config.Load(configFile(a.stateDir))
	if err != nil {
		return err
	}
	secrets, err := config.LoadSecrets(a.stateDir)
	if err != nil {
		return err
	}
	content, err := firstday.Ensure(ctx, a.firstDay(cfg, secrets, o, p))
	if err != nil {
		p.end("")
		return err
	}
	p.end(serverLine(content))
	a.welcome(cfg.AuthURL(), cloudsFile(a.stateDir), content, d.Driver)
	return nil
}

// start makes the configuration where it is missing and starts the process.
func (a *app) start(ctx context.Context, o upOptions, p *progress) (*daemon, error) {
	if err := prepareState(a.stateDir, o); err != nil {
		return nil, err
	}
	cfg, err := config.Load(configFile(a.stateDir))
	if err != nil {
		return nil, err
	}
	if err := preflight(a.stateDir, cfg.Listen, cfg.Compute.Driver); err != nil {
		return nil, err
	}
	cmd, err := spawnDaemon(a.stateDir)
	if err != nil {
		return nil, err
	}
	died := make(chan error, 1)
	go func() {
		err := cmp.Or(cmd.Wait(), errors.New("exit code 0"))
		died <- fmt.Errorf("%s (%w)", tail(logFile(a.stateDir)), err)
	}()
	if err := waitReady(ctx, cfg.Listen, died, p.detail); err != nil {
		_ = cmd.Process.Signal(os.Interrupt)
		return nil, fmt.Errorf("%w; its log is %s", err, logFile(a.stateDir))
	}
	return findDaemon(a.stateDir)
}

// prepareState makes the state directory, its secrets and its configuration.
// A configuration that is there stays as it is.
func prepareState(dir string, o upOptions) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		if errors.Is(err, os.ErrPermission) {
			return fmt.Errorf("cannot write %s: run as root (sudo make up), or choose another place (--state-dir)", dir)
		}
		return err
	}
	secrets, err := config.EnsureSecrets(dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(configFile(dir)); errors.Is(err, os.ErrNotExist) {
		if err := writeConfig(dir, o); err != nil {
			return err
		}
	}
	cfg, err := config.Load(configFile(dir))
	if err != nil {
		return err
	}
	return writeClouds(cfg, secrets)
}

// writeConfig writes only what differs from the defaults: what is not in the
// file follows the program's version.
func writeConfig(dir string, o upOptions) error {
	cfg := config.Default(dir, o.listen)
	b, err := yaml.Marshal(map[string]any{
		"state_dir": dir, "host": cfg.Host, "listen": o.listen, "endpoints": cfg.Endpoints,
		"compute": map[string]any{"driver": o.driver},
	})
	if err != nil {
		return err
	}
	return config.WriteFile(configFile(dir), b, 0o644)
}

func (a *app) firstDay(cfg *config.Config, secrets *config.Secrets, o upOptions, p *progress) firstday.Config {
	image := o.image
	if image == "" {
		image = findImage(a.stateDir)
	}
	return firstday.Config{
		AuthURL: cfg.AuthURL(), Region: cfg.Region, AdminPassword: secrets.AdminPassword, DemoPassword: secrets.DemoPassword,
		ImageFile: image, KeyDir: cfg.StateDir, ExternalCIDR: cfg.Network.ExternalCIDR, PrivateCIDR: "10.11.0.0/24",
		Boot: !o.noServer && image != "", WaitSSH: cfg.Compute.Driver == "qemu",
		Progress: p.begin,
	}
}

// findImage is the guest image that `make image` built, "" if there is none.
func findImage(dir string) string {
	candidates := []string{filepath.Join(dir, "testvm.qcow2")}
	if self, err := os.Executable(); err == nil {
		candidates = append(candidates, filepath.Join(filepath.Dir(self), "image", "disk.qcow2"))
	}
	for _, path := range candidates {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

func serverLine(c *firstday.Content) string {
	switch {
	case c.ServerID == "":
		return "none (there is no guest image: make image)"
	case c.FloatingIP == "":
		return firstday.Server + " is not running"
	case c.SSHTook == 0:
		return firstday.Server + " has " + c.FloatingIP
	}
	return fmt.Sprintf("%s ACTIVE after %.1f s, ssh answers at %s", firstday.Server, c.BootTook.Round(100*time.Millisecond).Seconds(), c.FloatingIP)
}

func (a *app) welcome(authURL, clouds string, c *firstday.Content, driver string) {
	self := "bin/hastack"
	if wd, err := os.Getwd(); err == nil {
		if exe, err := os.Executable(); err == nil {
			if rel, err := filepath.Rel(wd, exe); err == nil && len(rel) < len(exe) {
				self = rel
			} else {
				self = exe
			}
		}
	}
	stateFlag := ""
	if a.stateDir != DefaultStateDir {
		stateFlag = " --state-dir " + a.stateDir
	}
	fmt.Fprintf(a.out, "\nYour cloud\n  API         %s\n  clients     eval \"$(%s%s env)\"        # clouds.yaml: %s\n",
		authURL, self, stateFlag, clouds)
	if driver == "fake" {
		fmt.Fprintln(a.out, "  servers     simulated (--driver fake)")
	}
	if c.FloatingIP != "" && driver != "fake" {
		fmt.Fprintf(a.out, "  server      ssh -i %s %s@%s\n", c.KeyFile, firstday.SSHUser, c.FloatingIP)
	}
	fmt.Fprintf(a.out, "Next\n  openstack server list\n  %s%s trace %s\n", self, stateFlag, firstday.Server)
	fmt.Fprintf(a.out, "  openstack server create --image %s --flavor m1.nano --network %s --key-name %s second --wait\n",
		firstday.Image, firstday.Private, firstday.Key)
}
