package hostile

import (
	"fmt"
	"strings"
)

// target is one thing to make: its path, a body that is right, and the list
// that must not grow when it is refused.
type target struct {
	service, path string
	wrapper       string // "" means the body has no envelope
	body          m
	list          string
	headers       []string
}

const nobody = "9f8e7d6c-5b4a-4930-8271-605f4e3d2c1b"

func nova(h ...string) []string {
	return append([]string{"OpenStack-Api-Version", "compute 2.93"}, h...)
}
func placement(h ...string) []string {
	return append([]string{"OpenStack-Api-Version", "placement 1.39"}, h...)
}

// targets are the resources that users and admins make most. Their bodies make
// something each time they are sent: in them @n is a number, @u a UUID, @b two
// bytes of an address and @m three of a MAC that were not there before.
func (c *cloud) targets() []target {
	net, ext, group, image := c.content()
	id, v2, net2, comp := "/identity/v3", "/image/v2", "/network/v2.0", "/compute/v2.1"
	return []target{
		{"identity", id + "/projects", "project", m{"name": "p@n", "description": "d", "enabled": true, "domain_id": "default", "tags": []string{"t"}}, id + "/projects", nil},
		{"identity", id + "/users", "user", m{"name": "u@n", "password": "pw", "enabled": true, "email": "e", "domain_id": "default"}, id + "/users", nil},
		{"identity", id + "/domains", "domain", m{"name": "d@n", "enabled": true, "description": "d"}, id + "/domains", nil},
		{"identity", id + "/groups", "group", m{"name": "g@n", "description": "d"}, id + "/groups", nil},
		{"identity", id + "/roles", "role", m{"name": "r@n", "description": "d"}, id + "/roles", nil},
		{"identity", id + "/regions", "region", m{"id": "r@n", "description": "d", "parent_region_id": nil}, id + "/regions", nil},
		{"identity", id + "/services", "service", m{"type": "t", "name": "n", "enabled": true}, id + "/services", nil},
		{"identity", id + "/credentials", "credential", m{"type": "cert", "blob": "b"}, id + "/credentials", nil},
		{"image", v2 + "/images", "", m{"name": "i", "disk_format": "raw", "container_format": "bare", "min_disk": 1, "min_ram": 1,
			"visibility": "private", "protected": false, "tags": []string{"t"}, "id": "@u", "extra": "x"}, v2 + "/images?limit=1000", nil},
		{"placement", "/placement/resource_providers", "", m{"name": "rp@n", "uuid": "@u", "parent_provider_uuid": nil}, "/placement/resource_providers", placement()},
		{"placement", "/placement/resource_classes", "", m{"name": "CUSTOM_X@n"}, "/placement/resource_classes", placement()},
		{"compute", comp + "/flavors", "flavor", m{"name": "f@n", "ram": 1, "vcpus": 1, "disk": 0, "id": "x@n", "swap": 0, "rxtx_factor": 1.0,
			"OS-FLV-EXT-DATA:ephemeral": 0, "os-flavor-access:is_public": true, "description": "d"}, comp + "/flavors?is_public=None", nova()},
		{"compute", comp + "/os-keypairs", "keypair", m{"name": "k@n", "type": "ssh", "public_key": publicKey}, comp + "/os-keypairs", nova()},
		{"compute", comp + "/os-server-groups", "server_group", m{"name": "g", "policy": "anti-affinity", "rules": m{"max_server_per_host": 1}}, comp + "/os-server-groups", nova()},
		{"compute", comp + "/os-aggregates", "aggregate", m{"name": "a@n", "availability_zone": "z"}, comp + "/os-aggregates", nova()},
		{"compute", comp + "/servers", "server", m{"name": "s", "flavorRef": "hostile", "imageRef": image, "networks": []m{{"uuid": net}}, "key_name": "hostile",
			"min_count": 1, "max_count": 1, "metadata": m{"k": "v"}, "user_data": "eA==", "config_drive": true, "adminPass": "x", "security_groups": []m{{"name": "hostile"}},
			"availability_zone": "nova", "tags": []string{"t"}, "hostname": "host", "accessIPv4": "1.2.3.4", "OS-DCF:diskConfig": "AUTO"}, comp + "/servers?all_tenants=1&limit=1000", nova()},
		{"network", net2 + "/networks", "network", m{"name": "n", "description": "d", "admin_state_up": true, "shared": false, "router:external": false, "mtu": 1400,
			"provider:network_type": "vxlan", "port_security_enabled": true, "project_id": "p", "availability_zone_hints": []string{}}, net2 + "/networks", nil},
		{"network", net2 + "/subnets", "subnet", m{"name": "s", "network_id": net, "ip_version": 4, "cidr": "10.@b.0/24", "gateway_ip": "10.@b.1", "enable_dhcp": true,
			"dns_nameservers": []string{"8.8.8.8"}, "allocation_pools": []m{{"start": "10.@b.10", "end": "10.@b.20"}},
			"host_routes": []m{{"destination": "192.0.2.0/24", "nexthop": "10.@b.3"}}}, net2 + "/subnets", nil},
		{"network", net2 + "/ports", "port", m{"name": "p", "network_id": net, "admin_state_up": true, "mac_address": "fa:16:3e:@m", "fixed_ips": []m{},
			"device_id": "d", "device_owner": "o", "security_groups": []string{group}, "allowed_address_pairs": []m{{"ip_address": "10.0.0.9"}},
			"extra_dhcp_opts": []m{{"opt_name": "mtu", "opt_value": "1400"}}, "binding:host_id": "h", "binding:profile": m{}}, net2 + "/ports", nil},
		{"network", net2 + "/routers", "router", m{"name": "r", "admin_state_up": true, "external_gateway_info": m{"network_id": ext, "enable_snat": true}}, net2 + "/routers", nil},
		{"network", net2 + "/floatingips", "floatingip", m{"floating_network_id": ext, "port_id": nil, "fixed_ip_address": nil, "description": "d"}, net2 + "/floatingips", nil},
		{"network", net2 + "/security-groups", "security_group", m{"name": "g", "description": "d", "stateful": true}, net2 + "/security-groups", nil},
		{"network", net2 + "/security-group-rules", "security_group_rule", m{"security_group_id": group, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
			"port_range_min": 1, "port_range_max": 2, "remote_ip_prefix": "10.@b.0/24"}, net2 + "/security-group-rules", nil},
		{"network", net2 + "/rbac-policies", "rbac_policy", m{"object_type": "network", "object_id": net, "action": "access_as_shared", "target_tenant": "@u"}, net2 + "/rbac-policies", nil},
	}
}

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f x"

// content is what the bodies name: a network, one outside, a group and an image
// of the admin's project, which has no quotas that end the test.
func (c *cloud) content() (net, ext, group, image string) {
	project := c.must(200, c.token, "GET", "/identity/v3/auth/tokens", nil, "X-Subject-Token", c.token).text("token", "project", "id")
	none := m{"network": -1, "subnet": -1, "port": -1, "router": -1, "floatingip": -1, "security_group": -1, "security_group_rule": -1, "rbac_policy": -1}
	c.must(200, c.token, "PUT", "/network/v2.0/quotas/"+project, m{"quota": none})
	c.must(200, c.token, "PUT", "/compute/v2.1/os-quota-sets/"+project, m{"quota_set": m{"instances": 100, "cores": -1, "ram": -1, "server_groups": -1, "key_pairs": -1}})
	net = c.must(201, c.token, "POST", "/network/v2.0/networks", m{"network": m{"name": "hostile"}}).text("network", "id")
	c.must(201, c.token, "POST", "/network/v2.0/subnets", m{"subnet": m{"network_id": net, "ip_version": 4, "cidr": "10.0.0.0/20"}})
	ext = c.must(201, c.token, "POST", "/network/v2.0/networks", m{"network": m{"name": "outside", "router:external": true}}).text("network", "id")
	c.must(201, c.token, "POST", "/network/v2.0/subnets", m{"subnet": m{"network_id": ext, "ip_version": 4, "cidr": "198.18.0.0/16"}})
	group = c.must(201, c.token, "POST", "/network/v2.0/security-groups", m{"security_group": m{"name": "hostile"}}).text("security_group", "id")
	image = c.must(201, c.token, "POST", "/image/v2/images", m{"name": "hostile", "disk_format": "raw", "container_format": "bare"}).text("id")
	c.must(204, c.token, "PUT", "/image/v2/images/"+image+"/file", strings.Repeat("\x00", 1<<16), "Content-Type", "application/octet-stream")
	c.must(200, c.token, "POST", "/compute/v2.1/flavors", m{"flavor": m{"id": "hostile", "name": "hostile", "ram": 1, "vcpus": 1, "disk": 0}})
	c.must(200, c.token, "POST", "/compute/v2.1/os-keypairs", m{"keypair": m{"name": "hostile", "public_key": publicKey}})
	return net, ext, group, image
}

// filled is a body as it is sent the n-th time.
func filled(body string, n int) string {
	return strings.NewReplacer("@n", fmt.Sprint(n), "@u", fmt.Sprintf("9f8e7d6c-5b4a-4930-8271-%012x", n),
		"@b", fmt.Sprintf("%d.%d", 16+n/250, n%250), "@m", fmt.Sprintf("%02x:%02x:%02x", n>>16, n>>8&255, n&255)).Replace(body)
}
