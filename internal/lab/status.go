package lab

import (
	"context"
	"errors"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/topology"
)

// Status reads what the lab looks like now.
func (l *Lab) Status(ctx context.Context) (*Status, error) {
	s, err := l.load()
	if err != nil {
		return nil, err
	}
	st := &Status{Name: l.name, Bonding: "stand-in", Fabric: Off, Cuts: s.Cuts, Drops: s.Drops}
	if s.Bonding {
		st.Bonding = "kernel"
	}
	if running, err := l.running(fabricName); err != nil {
		return nil, err
	} else if running {
		st.Fabric = Running
	}
	for _, server := range l.Servers() {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		one, err := l.serverStatus(s, server)
		if err != nil {
			return nil, err
		}
		st.MemoryMB += one.MemoryMB
		st.Servers = append(st.Servers, *one)
	}
	return st, nil
}

func (l *Lab) serverStatus(s *state, server string) (*ServerStatus, error) {
	power, err := l.Power(server)
	if err != nil {
		return nil, err
	}
	st := &ServerStatus{Name: server, Power: power, LimitMB: l.limits(server).MemoryMB}
	if power != Off {
		st.MemoryMB, st.CacheMB, st.CPU = l.cgroups.usage(server)
	}
	active := map[string]bool{}
	if nsAlive(l.nsName(server)) {
		if active, err = activeLegs(l.nsName(server), l.topology.Server(server).Links()); err != nil {
			return nil, err
		}
	}
	for _, link := range l.topology.Server(server).Links() {
		st.Links = append(st.Links, LinkStatus{Name: link.Name(), Switch: link.Switch,
			Up: power != Off && !isCut(s.Cuts, link), Active: power != Off && active[link.Leg]})
	}
	return st, nil
}

// activeLegs are the legs that carry their device's traffic.
func activeLegs(ns string, links []topology.Link) (map[string]bool, error) {
	active := map[string]bool{}
	err := withLinks(ns, func(h *netlink.Handle) error {
		for _, link := range links {
			leg, err := h.LinkByName(link.Leg)
			if errors.As(err, &netlink.LinkNotFoundError{}) {
				continue
			}
			if err != nil {
				return err
			}
			a := leg.Attrs()
			up := a.Flags&net.FlagUp != 0 && a.RawFlags&unix.IFF_LOWER_UP != 0
			slave, bonded := a.Slave.(*netlink.BondSlave)
			switch {
			case bonded:
				active[link.Leg] = up && slave.State == netlink.BondStateActive
			case link.Leg == link.Device:
				active[link.Leg] = up
			default:
				active[link.Leg] = up && a.MasterIndex != 0
			}
		}
		return nil
	})
	return active, err
}

// kernelBonds tries whether the kernel has bonding, in a namespace of ours.
func kernelBonds(ns string) bool {
	err := withLinks(ns, func(h *netlink.Handle) error {
		b := netlink.NewLinkBond(netlink.LinkAttrs{Name: "probe"})
		if err := h.LinkAdd(b); err != nil {
			return err
		}
		return h.LinkDel(b)
	})
	return err == nil
}
