package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/neutron/dataplane"
	"github.com/hastack/hastack/internal/nova/virt/qemu"
)

// Cleanup removes from this machine what a stopped cloud left outside of its
// state directory: server processes, taps, bridges, namespaces, DHCP servers
// and packet filter tables. It goes on past errors and returns them all.
func Cleanup(ctx context.Context, cfg *config.Config) error {
	if cfg.Compute.Driver == "fake" {
		return nil
	}
	return errors.Join(removeServers(ctx, cfg), removeNetworks(cfg))
}

func removeServers(ctx context.Context, cfg *config.Config) error {
	driver, err := qemu.New(qemu.Config{StateDir: cfg.StateDir, Accel: "tcg"}, clock.System, slog.New(slog.DiscardHandler))
	if err != nil {
		return fmt.Errorf("find servers: %w", err)
	}
	defer closeDriver(driver)
	known, err := driver.Recover(ctx)
	if err != nil {
		return fmt.Errorf("find servers: %w", err)
	}
	all := map[string]bool{}
	for _, info := range known {
		all[info.ID] = true
	}
	inv, err := driver.Inventory(ctx)
	if err != nil {
		return fmt.Errorf("find servers: %w", err)
	}
	for _, p := range inv.Processes {
		all[p.ServerID] = true
	}
	var errs []error
	for id := range all {
		if err := driver.Destroy(ctx, id); err != nil {
			errs = append(errs, fmt.Errorf("remove server %s: %w", id, err))
		}
	}
	for _, t := range inv.Taps {
		if err := driver.UnplugTap(ctx, t.Name); err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", t.Name, err))
		}
	}
	return errors.Join(errs...)
}

func removeNetworks(cfg *config.Config) error {
	plane, err := dataPlane(cfg)
	if err != nil {
		return err
	}
	plane.Log = slog.New(slog.DiscardHandler)
	host, err := dataplane.NewHost(plane)
	if err != nil {
		return fmt.Errorf("open the machine's networks: %w", err)
	}
	defer host.Close()
	return host.Cleanup()
}

// RunningServers counts the server processes of a stopped cloud.
func RunningServers(ctx context.Context, cfg *config.Config) (int, error) {
	if cfg.Compute.Driver == "fake" || os.Geteuid() != 0 {
		return 0, nil
	}
	driver, err := qemu.New(qemu.Config{StateDir: cfg.StateDir, Accel: "tcg"}, clock.System, slog.New(slog.DiscardHandler))
	if err != nil {
		return 0, fmt.Errorf("find servers: %w", err)
	}
	defer closeDriver(driver)
	inv, err := driver.Inventory(ctx)
	if err != nil {
		return 0, fmt.Errorf("find servers: %w", err)
	}
	return len(inv.Processes), nil
}

// closeDriver lets go of the servers; nothing is lost if that fails, for the
// process ends soon.
func closeDriver(d *qemu.Driver) { _ = d.Close() }
