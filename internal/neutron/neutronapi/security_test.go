package neutronapi_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/neutron/neutrontest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// Security case 50, CVE-2015-5240: a port that takes on an owner of Neutron's
// own is no longer filtered, so no user may do that, not even on a network of
// its own, neither at creation nor later.
func TestSec50DeviceOwnerCannotDisableTheFilter(t *testing.T) {
	c := neutrontest.New(t)
	net, _ := c.Network("member", "10.0.0.0/24")
	id := neutrontest.ID(c.Create("member", "port", m{"network_id": net}))
	for _, owner := range []string{"network:dhcp", "network:router_interface", "network:anything"} {
		c.Refused(403, "PolicyNotAuthorized", "member", "PUT", "/v2.0/ports/"+id, m{"port": m{"device_owner": owner}})
		c.Refused(403, "PolicyNotAuthorized", "member", "POST", "/v2.0/ports", m{"port": m{"network_id": net, "device_owner": owner}})
		c.Refused(403, "PolicyNotAuthorized", "member", "POST", "/v2.0/ports", m{"ports": []m{{"network_id": net}, {"network_id": net, "device_owner": owner}}})
	}
	got := c.Must(200, "member", "GET", "/v2.0/ports/"+id, nil).Get("port")
	if got["device_owner"] != "" || got["port_security_enabled"] != true || len(got["security_groups"].([]any)) != 1 {
		t.Errorf("port after the refusals: %v", got)
	}
	c.Must(200, "member", "PUT", "/v2.0/ports/"+id, m{"port": m{"device_owner": "compute:nova"}})
	if n := len(c.Must(200, "member", "GET", "/v2.0/ports", nil).List("ports")); n != 1 {
		t.Errorf("%d ports, want the one that was not refused", n)
	}
}

// Security case 51, CVE-2014-0187, CVE-2019-9735, CVE-2019-10876: a rule that
// no filter could hold is refused, whatever it looks like, and what is stored
// is in one form.
func TestSec51RulesThatNoFilterHoldsAreRefused(t *testing.T) {
	c := neutrontest.New(t)
	group := neutrontest.ID(c.Create("member", "security_group", m{"name": "g"}))
	for _, bad := range []m{
		{"port_range_min": 80, "port_range_max": 80}, // without protocol
		{"protocol": "tcp", "port_range_min": 80},
		{"protocol": "tcp", "port_range_min": 90, "port_range_max": 80},
		{"protocol": "tcp", "port_range_min": 0, "port_range_max": 70000},
		{"protocol": "vrrp", "port_range_min": 80, "port_range_max": 80},
		{"protocol": "icmp", "port_range_min": 300},
		{"protocol": "icmp", "port_range_max": 3},
		{"protocol": "icmpv6", "ethertype": "IPv4"},
		{"protocol": "tcp; flush ruleset"},
		{"protocol": "256"}, {"protocol": "-1"}, {"protocol": 3.5},
		{"ethertype": "ARP"}, {"direction": "sideways"},
		{"remote_ip_prefix": "10.0.0.0/33"}, {"remote_ip_prefix": "10.0.0.0/24\n"}, {"remote_ip_prefix": "::/0"},
		{"remote_ip_prefix": "fe80::1%eth0"}, {"remote_ip_prefix": "::ffff:10.0.0.1/120", "ethertype": "IPv6"}, {"remote_ip_prefix": "any"},
		{"remote_ip_prefix": "10.0.0.0/8", "remote_group_id": group},
		{"remote_group_id": "not-a-uuid"},
	} {
		body := m{"security_group_id": group, "direction": "ingress"}
		maps.Copy(body, bad)
		if r := c.Do("member", "POST", "/v2.0/security-group-rules", m{"security_group_rule": body}); r.Status != 400 {
			t.Errorf("%v: %d %s", bad, r.Status, r.Text)
		}
	}
	rules := c.Must(200, "member", "GET", "/v2.0/security-group-rules?security_group_id="+group, nil).List("security_group_rules")
	if len(rules) != 2 {
		t.Errorf("%d rules, want the two that a group begins with", len(rules))
	}
	rule := c.Create("member", "security_group_rule", m{"security_group_id": group, "direction": "ingress", "remote_ip_prefix": "10.1.2.3/8", "protocol": "TCP"})
	if rule["remote_ip_prefix"] != "10.0.0.0/8" || rule["protocol"] != "tcp" {
		t.Errorf("stored as %v", rule)
	}
	// The same traffic written otherwise is the same rule.
	c.Refused(409, "SecurityGroupRuleExists", "member", "POST", "/v2.0/security-group-rules",
		m{"security_group_rule": m{"security_group_id": group, "direction": "ingress", "remote_ip_prefix": "10.0.0.0/8", "protocol": "6"}})
}

// Security case 52, CVE-2014-0056 and CVE-2014-6414: no port is plugged into
// another project's router or server, and an attribute for administrators
// needs the right also when it is given with its default.
func TestSec52DevicesAndAdminAttributesOfOthersAreClosed(t *testing.T) {
	c := neutrontest.New(t)
	net, _ := c.Network("member", "10.0.0.0/24")
	otherNet, otherSub := c.Network("other", "10.0.1.0/24")
	router := neutrontest.ID(c.Create("other", "router", m{"name": "theirs"}))
	server := "9a9b9c9d-0000-4000-8000-000000000002"
	c.Create("other", "port", m{"network_id": otherNet, "device_id": server})
	for _, device := range []string{router, server} {
		c.Refused(409, "DeviceIDNotOwnedByTenant", "member", "POST", "/v2.0/ports", m{"port": m{"network_id": net, "device_id": device}})
	}
	id := neutrontest.ID(c.Create("member", "port", m{"network_id": net}))
	c.Refused(409, "DeviceIDNotOwnedByTenant", "member", "PUT", "/v2.0/ports/"+id, m{"port": m{"device_id": router}})
	// What belongs to others is not there at all.
	mine := neutrontest.ID(c.Create("member", "router", m{"name": "mine"}))
	c.Refused(404, "SubnetNotFound", "member", "PUT", "/v2.0/routers/"+mine+"/add_router_interface", m{"subnet_id": otherSub})
	c.Refused(404, "RouterNotFound", "member", "PUT", "/v2.0/routers/"+router+"/add_router_interface", m{"port_id": id})
	c.Refused(404, "NetworkNotFound", "member", "POST", "/v2.0/ports", m{"port": m{"network_id": otherNet}})
	for _, attr := range []m{
		{"shared": false}, {"router:external": false}, {"provider:network_type": "vxlan"}, {"is_default": false},
	} {
		c.Refused(403, "PolicyNotAuthorized", "member", "PUT", "/v2.0/networks/"+net, m{"network": attr})
		c.Refused(403, "PolicyNotAuthorized", "member", "POST", "/v2.0/networks", m{"network": attr})
	}
	for _, attr := range []m{{"binding:host_id": ""}, {"binding:profile": m{}}, {"trusted": false}} {
		c.Refused(403, "PolicyNotAuthorized", "member", "PUT", "/v2.0/ports/"+id, m{"port": attr})
	}
	got := c.Must(200, "member", "GET", "/v2.0/ports/"+id, nil).Get("port")
	if _, seen := got["binding:host_id"]; seen {
		t.Error("a member reads binding:host_id")
	}
}

// Even an administrator, as which Nova speaks, cannot hang the group of one
// project on the port of another.
func TestSec52GroupsOfAnotherProjectAreNotFound(t *testing.T) {
	c := neutrontest.New(t)
	net, _ := c.Network("member", "10.0.0.0/24")
	theirs := neutrontest.ID(c.Create("other", "security_group", m{"name": "g"}))
	c.Refused(404, "SecurityGroupNotFound", "member", "POST", "/v2.0/ports", m{"port": m{"network_id": net, "security_groups": []string{theirs}}})
	owner := c.Must(200, "member", "GET", "/v2.0/networks/"+net, nil).Get("network")["project_id"]
	c.Refused(404, "SecurityGroupNotFound", "service", "POST", "/v2.0/ports", m{"port": m{"network_id": net, "project_id": owner, "security_groups": []string{theirs}}})
	mine := neutrontest.ID(c.Create("member", "security_group", m{"name": "g"}))
	c.Refused(404, "SecurityGroupNotFound", "member", "POST", "/v2.0/security-group-rules",
		m{"security_group_rule": m{"security_group_id": mine, "direction": "ingress", "remote_group_id": theirs}})
}

// Security case 53, CVE-2021-40085: an option's value may not begin another
// line of the DHCP server's configuration, nor may its name.
func TestSec53DHCPOptionsHoldNoControlCharacters(t *testing.T) {
	c := neutrontest.New(t)
	net, _ := c.Network("member", "10.0.0.0/24")
	id := neutrontest.ID(c.Create("member", "port", m{"network_id": net}))
	for _, o := range []m{
		{"opt_name": "mtu", "opt_value": "1400\ndhcp-script=/bin/sh"},
		{"opt_name": "mtu", "opt_value": "1400\r"},
		{"opt_name": "mtu", "opt_value": "a\u0000b"},
		{"opt_name": "mtu", "opt_value": "a\u2028b"},
		{"opt_name": "mtu", "opt_value": strings.Repeat("a", 256)},
		{"opt_name": "mtu\nx", "opt_value": "1"}, {"opt_name": "mtu,tag:x", "opt_value": "1"}, {"opt_name": "", "opt_value": "1"},
		{"opt_name": "mtu", "opt_value": "1", "ip_version": 5}, {"opt_name": "mtu", "opt_value": "1", "tag": "x"},
	} {
		for _, r := range []neutrontest.Reply{
			c.Do("member", "PUT", "/v2.0/ports/"+id, m{"port": m{"extra_dhcp_opts": []m{o}}}),
			c.Do("member", "POST", "/v2.0/ports", m{"port": m{"network_id": net, "extra_dhcp_opts": []m{o}}}),
		} {
			if r.Status != 400 {
				t.Errorf("%q: %d %s", o, r.Status, r.Text)
			}
		}
	}
	c.Must(200, "member", "PUT", "/v2.0/ports/"+id, m{"port": m{"extra_dhcp_opts": []m{{"opt_name": "mtu", "opt_value": "1400"}, {"opt_name": "42", "opt_value": "192.0.2.1"}}}})
	got := c.Must(200, "member", "PUT", "/v2.0/ports/"+id, m{"port": m{"extra_dhcp_opts": []m{{"opt_name": "mtu", "opt_value": nil}}}}).Get("port")
	if opts := got["extra_dhcp_opts"].([]any); len(opts) != 1 {
		t.Errorf("options after one was removed: %v", opts)
	}
}

// Security case 54, CVE-2014-7821, CVE-2015-3221 and their kin: whatever would
// make an agent stumble is refused before it is stored, so that the desired
// state of every host stays complete.
func TestSec54ValuesThatWouldStopAnAgentAreRefused(t *testing.T) {
	c := neutrontest.New(t)
	c.Agents("host1", "192.0.2.1")
	net, sub := c.Network("member", "10.0.0.0/24")
	port := neutrontest.ID(c.Create("member", "port", m{"network_id": net}))
	for _, s := range []m{
		{"cidr": "10.9.0.0/24", "dns_nameservers": []string{"8.8.8.8\nserver=/x/1.1.1.1"}},
		{"cidr": "10.9.0.0/24", "dns_nameservers": []string{"dns.example.org"}},
		{"cidr": "10.9.0.0/24", "dns_nameservers": []string{"1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.6"}},
		{"cidr": "10.9.0.0/24", "host_routes": []m{{"destination": "x", "nexthop": "10.9.0.1"}}},
		{"cidr": "10.9.0.0/24", "host_routes": []m{{"destination": "10.0.0.0/8", "nexthop": "::1"}}},
		{"cidr": "10.9.0.0/24", "gateway_ip": "10.8.0.1"}, {"cidr": "10.9.0.0/24", "gateway_ip": "10.9.0.255"},
		{"cidr": "10.9.0.0/24", "allocation_pools": []m{{"start": "10.9.0.9", "end": "10.9.0.2"}}},
		{"cidr": "10.9.0.0/24", "allocation_pools": []m{{"start": "10.9.0.9", "end": "10.9.1.2"}}},
		{"cidr": "10.9.0.0/24", "ipv6_ra_mode": "slaac"},
		{"cidr": "fd00::/80", "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"},
		{"cidr": "fd00::/64", "ipv6_ra_mode": "slaac", "ipv6_address_mode": "dhcpv6-stateful"},
		{"cidr": "fd00::/64", "ipv6_ra_mode": "chaos"},
		{"cidr": "fe80::/64"}, {"cidr": "0.0.0.0/0"}, {"cidr": "224.0.0.0/8"}, {"cidr": "127.0.0.0/8"}, {"cidr": "10.9.0.0/32"},
		{"cidr": "fd00::/64", "ip_version": 4}, {"cidr": "10.9.0.0/24", "ip_version": 5}, {"cidr": "10.9.0.0/24\n"},
	} {
		s["network_id"] = net
		if r := c.Do("member", "POST", "/v2.0/subnets", m{"subnet": s}); r.Status != 400 {
			t.Errorf("subnet %v: %d %s", s, r.Status, r.Text)
		}
	}
	for _, p := range []m{
		{"allowed_address_pairs": []m{{"ip_address": "10.0.0.300"}}},
		{"allowed_address_pairs": []m{{"ip_address": "10.0.0.3", "mac_address": "01:00:5e:00:00:01"}}},
		{"allowed_address_pairs": []m{{"mac_address": "fa:16:3e:00:00:01"}}},
		{"mac_address": "fa:16:3e:00:00"}, {"mac_address": "ff:ff:ff:ff:ff:ff"},
		{"dns_name": "a b"}, {"dns_name": "x\ny"}, {"dns_domain": "-x.org"}, {"device_id": "a\nb"},
		{"fixed_ips": []m{{"subnet_id": sub, "ip_address": "10.0.0.255"}}}, {"fixed_ips": []m{{"subnet_id": sub, "ip_address": "10.0.1.5"}}},
	} {
		if r := c.Do("member", "PUT", "/v2.0/ports/"+port, m{"port": p}); r.Status != 400 {
			t.Errorf("port %v: %d %s", p, r.Status, r.Text)
		}
	}
	var pairs []m
	for i := range 11 {
		pairs = append(pairs, m{"ip_address": fmt.Sprintf("10.0.0.%d", 100+i)})
	}
	c.Refused(400, "AllowedAddressPairExhausted", "member", "PUT", "/v2.0/ports/"+port, m{"port": m{"allowed_address_pairs": pairs}})
	st := c.Sync("host1", &rpc.Changed{Networks: []string{net}})
	if len(st.DHCP) != 1 || len(st.DHCP[0].Hosts) != 1 || len(st.Networks) != 1 || len(st.Networks[0].Subnets) != 1 {
		t.Errorf("desired state after the refusals: %+v", st)
	}
}
