package qemu

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/hastack/hastack/internal/nova/virt"
)

// Attach implements virt.Driver. The definition is written first: a crash in
// between leaves an interface that the next start or Attach completes.
func (d *Driver) Attach(ctx context.Context, id string, nic virt.NIC) error {
	s, err := d.load(id)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(s.NICs, func(n virt.NIC) bool { return n.PortID == nic.PortID }) {
		s.NICs = append(s.NICs, nic)
		if err := d.save(s); err != nil {
			return err
		}
	}
	g := d.running(id)
	if g == nil {
		return nil
	}
	there, err := g.hasDevice(ctx, nicID(nic.PortID))
	if err != nil || there {
		return err
	}
	tap, err := openTap(nic.Tap)
	if err != nil {
		return err
	}
	defer tap.Close()
	return g.plug(ctx, nic, tap, machineType(s) == "q35")
}

func (g *guest) plug(ctx context.Context, nic virt.NIC, tap *os.File, ports bool) error {
	name := netdevID(nic.PortID)
	if _, err := g.mon.doWithFile(ctx, "getfd", map[string]any{"fdname": name}, tap); err != nil {
		return err
	}
	_, err := g.mon.do(ctx, "netdev_add", map[string]any{"type": "tap", "id": name, "fd": name})
	var refused *qmpError
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	// A refusal may be a netdev left by a crash between the two commands, which
	// serves as well; if it is anything else the device is refused next.
	args := map[string]any{"driver": "virtio-net-pci", "id": nicID(nic.PortID), "netdev": name, "mac": nic.MAC, "romfile": ""}
	if nic.MTU > 0 {
		args["host_mtu"] = nic.MTU
	}
	if devErr := g.addDevice(ctx, args, ports); devErr != nil {
		_, delErr := g.mon.do(ctx, "netdev_del", map[string]any{"id": name})
		return errors.Join(err, devErr, delErr)
	}
	return nil
}

// addDevice plugs a device, into the first free port of a machine that has them.
func (g *guest) addDevice(ctx context.Context, args map[string]any, ports bool) (err error) {
	if !ports {
		_, err = g.mon.do(ctx, "device_add", args)
		return err
	}
	for i := range rootPorts {
		args["bus"] = rootPort(i)
		var refused *qmpError
		if _, err = g.mon.do(ctx, "device_add", args); err == nil || !errors.As(err, &refused) {
			return err
		}
	}
	return err
}

// hasDevice asks whether a device of that id exists.
func (g *guest) hasDevice(ctx context.Context, id string) (bool, error) {
	_, err := g.mon.do(ctx, "qom-list", map[string]any{"path": "/machine/peripheral/" + id})
	if _, refused := errors.AsType[*qmpError](err); refused {
		return false, nil
	}
	return err == nil, err
}

// unplugDeadline is how long a guest may take to let a device go. One without
// an operating system never does.
const unplugDeadline = 5 * time.Second

// Detach implements virt.Driver.
func (d *Driver) Detach(ctx context.Context, id, portID string) error {
	s, err := d.load(id)
	if err != nil {
		return err
	}
	if g := d.running(id); g != nil {
		if err := d.unplug(ctx, g, portID); err != nil {
			return err
		}
	}
	s.NICs = slices.DeleteFunc(s.NICs, func(n virt.NIC) bool { return n.PortID == portID })
	return d.save(s)
}

// unplug asks the guest to let the device go. A guest that does not is cut from
// the network all the same: its netdev is removed below the device.
func (d *Driver) unplug(ctx context.Context, g *guest, portID string) error {
	events, stop := g.subscribe("DEVICE_DELETED")
	defer stop()
	var refused *qmpError
	_, err := g.mon.do(ctx, "device_del", map[string]any{"id": nicID(portID)})
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	deadline := d.clock.After(unplugDeadline)
	for waiting := true; waiting; {
		there, err := g.hasDevice(ctx, nicID(portID))
		if err != nil {
			return err
		}
		if !there {
			break
		}
		select {
		case <-events:
		case <-deadline:
			waiting = false
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	_, err = g.mon.do(ctx, "netdev_del", map[string]any{"id": netdevID(portID)})
	if errors.As(err, &refused) {
		return nil // it was gone already
	}
	return err
}
