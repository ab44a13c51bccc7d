package deploy

import (
	"fmt"
	"net"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/topology"
)

// Files of the services on a server. Control roles and agents have files of
// their own: a host without control roles never gets a database's password.
const (
	configDir      = "/etc/hastack"
	controlConfig  = configDir + "/control.yaml"
	controlSecrets = configDir + "/control-secrets.yaml"
	agentConfig    = configDir + "/agent.yaml"
	agentSecrets   = configDir + "/agent-secrets.yaml"
	keysDir        = configDir + "/keys"

	// State of the control services, which run as a user of their own, and of
	// the agents, which are root: neither may write into the other's.
	controlState = "/var/lib/hastack/control"
	agentState   = "/var/lib/hastack/agent"
)

// serviceUser runs the control services.
const serviceUser = "hastack"

// drainSeconds is how long a service that was told to stop still serves: two
// health checks of the load balancers and a little more.
const drainSeconds = 1.5

// physicalNetwork is what Neutron calls the external network.
const physicalNetwork = "public"

// publicBase and internalBase are the URLs that APIs are below, from outside
// and between the services.
func publicBase(t *topology.Topology) (string, error) {
	if v := t.VIP("public"); v != nil {
		return "https://" + v.Address.String(), nil
	}
	return internalBase(t)
}

func internalBase(t *topology.Topology) (string, error) {
	v := t.VIP("api")
	if v == nil {
		return "", fmt.Errorf("topology %s has no VIP named api: the services find each other there", t.Name)
	}
	return "https://" + v.Address.String(), nil
}

func below(base string) map[string]string {
	m := map[string]string{}
	for _, t := range config.ServiceTypes() {
		m[t] = base + "/" + t
	}
	return m
}

// commonConfig is what every process of the cluster reads.
func commonConfig(c *Context, s *topology.Server) (map[string]any, error) {
	t := c.Topology
	public, err := publicBase(t)
	if err != nil {
		return nil, err
	}
	internal, err := internalBase(t)
	if err != nil {
		return nil, err
	}
	var brokers, caches []string
	for _, m := range t.With(topology.RoleControl) {
		brokers = append(brokers, "amqps://hastack@"+net.JoinHostPort(m.Management().String(), "5671")+"/")
		caches = append(caches, net.JoinHostPort(m.Management().String(), "11211"))
	}
	return map[string]any{
		"host": s.Name, "region": t.Region, "drain_seconds": drainSeconds,
		"listen": net.JoinHostPort(s.Management().String(), "0"),
		"tls": map[string]any{
			"cert": "/etc/hastack/tls/server.pem", "key": "/etc/hastack/tls/server-key.pem", "ca": "/etc/hastack/tls/ca.pem",
		},
		"endpoints": below(public), "internal_endpoints": below(internal),
		"bus": map[string]any{"urls": brokers}, "cache": map[string]any{"servers": caches},
		"log": map[string]any{"level": "info"},
	}, nil
}

// controlConfigFile is control.yaml of a server.
func controlConfigFile(c *Context, s *topology.Server) ([]byte, error) {
	m, err := commonConfig(c, s)
	if err != nil {
		return nil, err
	}
	public, err := publicBase(c.Topology)
	if err != nil {
		return nil, err
	}
	var peers []string
	for _, p := range c.Topology.With(topology.RoleControl) {
		peers = append(peers, glanceURL(p))
	}
	m["state_dir"], m["secrets_file"] = controlState, controlSecrets
	m["database"] = map[string]any{"url": "mysql://" + net.JoinHostPort(c.Topology.VIP("api").Address.String(), "3306") + "/", "synced": true}
	if len(peers) > 1 {
		m["image"] = map[string]any{"peers": peers, "self": glanceURL(s), "copies": 2}
	}
	m["identity"] = map[string]any{"keys_dir": keysDir}
	m["compute"] = map[string]any{"driver": c.Topology.Compute.Driver, "console_url": public + "/console"}
	return yaml.Marshal(m)
}

func glanceURL(s *topology.Server) string {
	return "https://" + net.JoinHostPort(s.Management().String(), strconv.Itoa(portOf("glance-api")))
}

// agentConfigFile is agent.yaml of a server: no database, and nothing of the
// control plane's but where it is.
func agentConfigFile(c *Context, s *topology.Server) ([]byte, error) {
	m, err := commonConfig(c, s)
	if err != nil {
		return nil, err
	}
	internal, err := internalBase(c.Topology)
	if err != nil {
		return nil, err
	}
	m["state_dir"], m["secrets_file"] = agentState, agentSecrets
	m["database"] = map[string]any{"url": ""}
	cp := c.Topology.Compute
	m["compute"] = map[string]any{
		"driver": cp.Driver, "accel": cp.Accel, "cpu_allocation_ratio": cp.CPURatio, "ram_allocation_ratio": cp.RAMRatio,
		"vnc_listen": net.JoinHostPort(s.Management().String(), "0"), "host_ip": s.Management().String(),
	}
	network := map[string]any{
		"external_cidr": "", "bridge_mappings": map[string]string{}, "parts": networkParts(s), "metadata_url": internal + "/metadata",
	}
	network["address"] = s.Management().String()
	var members []string
	for _, o := range c.Topology.Servers {
		if o != s {
			members = append(members, o.Management().String())
		}
	}
	network["members"] = members
	if ip := s.Address(topology.Tunnel); ip.IsValid() {
		network["tunnel_ip"] = ip.String()
	} else {
		network["tunnel_ip"] = s.Management().String()
	}
	if ext := c.Topology.Networks[topology.External]; ext != nil && s.Has(topology.RoleNetwork) {
		network["bridge_mappings"] = map[string]string{physicalNetwork: ext.Device}
	}
	m["network"] = network
	return yaml.Marshal(m)
}

// networkParts is what neutron-agent does on a server.
func networkParts(s *topology.Server) []string {
	if s.Has(topology.RoleNetwork) {
		return []string{"l2", "l3", "dhcp", "metadata"}
	}
	return []string{"l2"}
}

// controlSecretsFile is what the control services know.
func controlSecretsFile(c *Context) ([]byte, error) {
	x := c.Cluster.Secrets
	return yaml.Marshal(map[string]string{
		"admin_password": x.AdminPassword.Reveal(), "demo_password": x.DemoPassword.Reveal(),
		"service_password": x.ServicePassword.Reveal(), "metadata_secret": x.MetadataSecret.Reveal(),
		"cache_key": x.CacheKey.Reveal(), "database_password": x.DatabaseService.Reveal(), "bus_password": x.RabbitPassword.Reveal(),
	})
}

// agentSecretsFile is what the agents know: no database, no admin.
func agentSecretsFile(c *Context) ([]byte, error) {
	x := c.Cluster.Secrets
	return yaml.Marshal(map[string]string{
		"service_password": x.ServicePassword.Reveal(), "metadata_secret": x.MetadataSecret.Reveal(),
		"cache_key": x.CacheKey.Reveal(), "bus_password": x.RabbitPassword.Reveal(),
	})
}
