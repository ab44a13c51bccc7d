package node

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/hastack/hastack/internal/clock"
)

// linkCollector reads the carriers of devices and their legs.
type linkCollector struct {
	root  fs.FS
	links []LinkConfig
	clock clock.Clock
	log   *slog.Logger
	since since
}

func (*linkCollector) Name() string         { return "links" }
func (*linkCollector) Every() time.Duration { return time.Second }

// Collect reads /sys/class/net.
func (c *linkCollector) Collect(ctx context.Context) (Facts, error) {
	now := c.clock.Now()
	devices := make([]Device, 0, len(c.links))
	for _, l := range c.links {
		d := Device{Name: l.Device, Network: l.Network, Present: c.exists(l.Device)}
		active := c.read(l.Device, "bonding/active_slave")
		for _, leg := range l.Legs {
			d.Legs = append(d.Legs, c.leg(ctx, &d, leg, active, now))
		}
		d.Up = d.Present && slices.ContainsFunc(d.Legs, func(l Leg) bool { return l.Carrier })
		d.Since, _ = c.since.of(d.Name, strconv.FormatBool(d.Up), now)
		devices = append(devices, d)
	}
	return func(s *State) { s.Links = devices }, nil
}

func (c *linkCollector) leg(ctx context.Context, d *Device, cfg LegConfig, active string, now time.Time) Leg {
	l := Leg{Name: cfg.Name, Switch: cfg.Switch}
	// carrier cannot be read of an interface that is set down: no carrier.
	l.Carrier = c.read(cfg.Name, "carrier") == "1"
	l.Changes, _ = strconv.ParseInt(c.read(cfg.Name, "carrier_changes"), 10, 64)
	switch {
	case cfg.Name == d.Name:
		l.Active = l.Carrier
	case active != "": // the kernel's bond, active-backup
		l.Active = active == cfg.Name
	case c.exists(d.Name + "/bridge"): // a bridge that has the active leg in it
		l.Active = l.Carrier && c.exists(cfg.Name+"/brport")
	default: // a bond that uses every leg
		l.Active = l.Carrier
	}
	var changed bool
	l.Since, changed = c.since.of(d.Name+"/"+l.Name, strconv.FormatBool(l.Carrier), now)
	if changed {
		c.log.WarnContext(ctx, "leg changed", "device", d.Name, "leg", l.Name, "switch", l.Switch, "carrier", l.Carrier)
	}
	return l
}

func (c *linkCollector) exists(dev string) bool {
	_, err := fs.Stat(c.root, "sys/class/net/"+dev)
	return err == nil
}

// read is a device's attribute, "" if it has none.
func (c *linkCollector) read(dev, attribute string) string {
	b, err := fs.ReadFile(c.root, "sys/class/net/"+dev+"/"+attribute)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// vipCollector looks which virtual addresses are on this server.
type vipCollector struct {
	vips      []VIPConfig
	addresses func() ([]netip.Addr, error)
	clock     clock.Clock
	log       *slog.Logger
	since     since
}

func (*vipCollector) Name() string         { return "vips" }
func (*vipCollector) Every() time.Duration { return time.Second }

// Collect asks the kernel for every address.
func (c *vipCollector) Collect(ctx context.Context) (Facts, error) {
	all, err := c.addresses()
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	now := c.clock.Now()
	var vips []VIP
	for _, v := range c.vips {
		x := VIP{Name: v.Name, Address: v.Address.String(), Held: slices.Contains(all, v.Address)}
		var changed bool
		x.Since, changed = c.since.of(v.Name, strconv.FormatBool(x.Held), now)
		if changed {
			c.log.InfoContext(ctx, "virtual address moved", "vip", v.Name, "address", x.Address, "held", x.Held)
		}
		vips = append(vips, x)
	}
	return func(s *State) { s.VIPs = vips }, nil
}

// kernelAddresses are the IPv4 addresses of this server.
func kernelAddresses() ([]netip.Addr, error) {
	list, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			out = append(out, ip.Unmap())
		}
	}
	return out, nil
}
