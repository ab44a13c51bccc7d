package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
)

// advertise runs the router advertisements of a router whose IPv6 subnets ask
// for them, by a dnsmasq of its own, so that they go on without this process.
func (h *Host) advertise(ns *namespace, plan *routerPlan) error {
	proc := h.advertiser(ns, plan.r.ID)
	args := []string{
		"--port=0", "--no-hosts", "--no-resolv", "--bind-dynamic", "--except-interface=lo", "--enable-ra",
		"--quiet-ra", "--quiet-dhcp6", "--log-facility=" + h.dir("router", plan.r.ID, "ra.log"),
		"--dhcp-leasefile=" + h.dir("router", plan.r.ID, "ra.leases"),
	}
	ranges := 0
	for i := range plan.devices {
		d := &plan.devices[i]
		if d.name == plan.gateway {
			continue
		}
		more := raRanges(d)
		if len(more) == 0 {
			continue
		}
		ranges += len(more)
		args = append(args, "--interface="+d.name)
		mtu := "off"
		if d.mtu > 0 {
			mtu = fmt.Sprint(d.mtu)
		}
		args = append(args, fmt.Sprintf("--ra-param=%s,mtu:%s,high,30,1800", d.name, mtu))
		args = append(args, more...)
	}
	if ranges == 0 {
		proc.stop()
		return nil
	}
	proc.args = args
	return proc.ensure(false)
}

// raRanges are dnsmasq's arguments for a device's subnets.
func raRanges(d *routerDevice) []string {
	var out []string
	for _, s := range d.port.Subnets {
		p, err := parsePrefix(s.CIDR)
		cid, idErr := chainID(s.ID)
		if err != nil || idErr != nil || !p.Addr().Is6() || p.Bits() < 64 {
			continue
		}
		mode := ""
		switch s.RAMode {
		case "slaac":
			mode = "ra-only"
		case "dhcpv6-stateless":
			mode = "ra-stateless"
		default:
			continue
		}
		out = append(out, fmt.Sprintf("--dhcp-range=set:%s,%s,%s,%d,86400s", "subnet-"+cid, p.Addr(), mode, p.Bits()))
		var dns []string
		for _, text := range s.DNS {
			if a, err := netip.ParseAddr(text); err == nil && a.Is6() && a.Zone() == "" {
				dns = append(dns, "["+a.String()+"]")
			}
		}
		for a := range slices.Values(dns) {
			out = append(out, fmt.Sprintf("--dhcp-option=tag:subnet-%s,option6:dns-server,%s", cid, a))
		}
	}
	return out
}

func (h *Host) advertiser(ns *namespace, routerID string) *dnsmasqProc {
	return &dnsmasqProc{ns: ns, pidFile: h.dir("router", routerID, "ra.pid")}
}

func (h *Host) stopAdvertising(ns *namespace, routerID string) { h.advertiser(ns, routerID).stop() }
