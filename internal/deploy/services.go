package deploy

import (
	"context"
	_ "embed" // the units under files/
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/hastack/hastack/internal/topology"
)

//go:embed files/hastack-control.service.tmpl
var controlUnitTemplate string

//go:embed files/hastack-agent.service.tmpl
var agentUnitTemplate string

// A serviceRole is one process of Hastack: a unit hastack-NAME.service that listens
// on the server's management address.
type serviceRole struct {
	name string
	port int
}

// controlRoles run on every control server, in the order of their start.
func controlRoles() []serviceRole {
	return []serviceRole{
		{"keystone", portOf("keystone")},
		{"glance-api", portOf("glance-api")},
		{"placement", portOf("placement")},
		{"neutron-server", portOf("neutron-server")},
		{"nova-conductor", 8771},
		{"nova-scheduler", 8772},
		{"nova-api", portOf("nova-api")},
		{"nova-metadata", portOf("nova-metadata")},
		{"nova-novncproxy", portOf("nova-novncproxy")},
		{"auditor", portOf("auditor")},
	}
}

// portOf is the port of a service behind the load balancers.
func portOf(name string) int {
	for _, a := range apis() {
		if a.name == name {
			return a.port
		}
	}
	return 0
}

// agentRoles are the agents of one server.
func agentRoles(s *topology.Server) []serviceRole {
	var out []serviceRole
	if s.Has(topology.RoleNetwork) || s.Has(topology.RoleCompute) {
		out = append(out, serviceRole{"neutron-agent", 9697})
	}
	if s.Has(topology.RoleCompute) {
		out = append(out, serviceRole{"nova-compute", 8773})
	}
	return out
}

func (r serviceRole) unit() string { return "hastack-" + r.name + ".service" }

// controlPart is the control services.
func controlPart() *Part {
	return &Part{
		Name:    "control",
		Servers: func(t *topology.Topology) []*topology.Server { return t.With(topology.RoleControl) },
		Want:    wantControl,
		Rolling: true,
		Start:   startControl,
		Healthy: func(ctx context.Context, c *Context, s *topology.Server) error {
			return servicesReady(ctx, c, s, controlRoles())
		},
	}
}

// agentsPart is the agents of network and compute servers. Servers and networks
// go on while an agent restarts, so they need not take turns.
func agentsPart() *Part {
	return &Part{
		Name: "agents",
		Servers: func(t *topology.Topology) []*topology.Server {
			return slices.DeleteFunc(slices.Clone(t.Servers), func(s *topology.Server) bool { return len(agentRoles(s)) == 0 })
		},
		Want: wantAgents,
		Healthy: func(ctx context.Context, c *Context, s *topology.Server) error {
			return servicesReady(ctx, c, s, agentRoles(s))
		},
	}
}

func wantControl(c *Context, s *topology.Server) (*Want, error) {
	conf, err := controlConfigFile(c, s)
	if err != nil {
		return nil, err
	}
	secrets, err := controlSecretsFile(c)
	if err != nil {
		return nil, err
	}
	var restart []string
	for _, r := range controlRoles() {
		restart = append(restart, r.unit())
	}
	w := &Want{
		Packages: []string{"novnc"},
		Users:    []User{{Name: serviceUser, Home: "/var/lib/hastack"}},
		Dirs: []Directory{
			{Path: "/var/lib/hastack", Mode: 0o755},
			{Path: controlState, Owner: serviceUser, Group: serviceUser, Mode: 0o750},
		},
		Files: []File{
			{Path: controlConfig, Group: serviceUser, Mode: 0o640, Content: conf, Restart: restart},
			{Path: controlSecrets, Group: serviceUser, Mode: 0o640, Content: secrets, Secret: true, Restart: restart},
		},
	}
	w.Units, err = serviceUnits(controlUnitTemplate, c, s, controlRoles())
	return w, err
}

func wantAgents(c *Context, s *topology.Server) (*Want, error) {
	conf, err := agentConfigFile(c, s)
	if err != nil {
		return nil, err
	}
	secrets, err := agentSecretsFile(c)
	if err != nil {
		return nil, err
	}
	var restart []string
	for _, r := range agentRoles(s) {
		restart = append(restart, r.unit())
	}
	w := &Want{
		Packages: []string{"iproute2", "nftables"},
		Dirs: []Directory{
			{Path: "/var/lib/hastack", Mode: 0o755},
			// QEMU gets open files, never paths: nobody else needs to look in.
			{Path: agentState, Mode: 0o711},
		},
		Files: []File{
			{Path: agentConfig, Mode: 0o600, Content: conf, Restart: restart},
			{Path: agentSecrets, Mode: 0o600, Content: secrets, Secret: true, Restart: restart},
		},
	}
	if s.Has(topology.RoleNetwork) {
		w.Packages = append(w.Packages, "dnsmasq-base")
	}
	if s.Has(topology.RoleCompute) && c.Topology.Compute.Driver == "qemu" {
		w.Packages = append(w.Packages, "qemu-system-x86", "qemu-utils", "genisoimage")
		w.Users = append(w.Users, User{Name: "hastack-guest"})
	}
	w.Units, err = serviceUnits(agentUnitTemplate, c, s, agentRoles(s))
	return w, err
}

// serviceUnits fills in a template for each role.
func serviceUnits(text string, c *Context, s *topology.Server, roles []serviceRole) ([]Unit, error) {
	tmpl, err := template.New("unit").Parse(text)
	if err != nil {
		return nil, err
	}
	var out []Unit
	for _, r := range roles {
		var b strings.Builder
		err := tmpl.Execute(&b, map[string]string{
			"Role": r.name, "Listen": net.JoinHostPort(s.Management().String(), strconv.Itoa(r.port)),
			"Control": controlConfig, "Agent": agentConfig, "State": controlState, "User": serviceUser, "Release": c.Release,
		})
		if err != nil {
			return nil, err
		}
		out = append(out, Unit{Name: r.unit(), Content: b.String(), Enabled: true, Running: true})
	}
	return out, nil
}

// startControl migrates the databases once and then starts the services: on
// all servers at a first deploy, else on one after the other, the next when the
// one before is ready.
func startControl(ctx context.Context, c *Context, changed map[string][]Change) error {
	servers := slices.DeleteFunc(c.Topology.With(topology.RoleControl), func(s *topology.Server) bool { return len(changed[s.Name]) == 0 })
	if len(servers) == 0 {
		return nil
	}
	c.progress().Server(servers[0].Name, "database schema", false)
	if err := syncDatabases(ctx, c, servers[0], command); err != nil {
		return err
	}
	settle := func(ctx context.Context, s *topology.Server) error {
		if err := c.Settle(ctx, s, changed[s.Name]); err != nil {
			return err
		}
		return waitServices(ctx, c, s, controlRoles())
	}
	if !slices.ContainsFunc(servers, func(s *topology.Server) bool { return !firstStart(changed[s.Name]) }) {
		return c.Everywhere(ctx, servers, settle)
	}
	for _, s := range servers {
		if err := named(s, settle(ctx, s)); err != nil {
			return err
		}
	}
	return nil
}

// firstStart tells that the services of a server do not run yet.
func firstStart(changes []Change) bool {
	return slices.ContainsFunc(changes, func(c Change) bool { return c.Kind == KindStart })
}

// syncDatabases migrates all databases from one control server with the binary
// there.
func syncDatabases(ctx context.Context, c *Context, s *topology.Server, binary string) error {
	script := "exec runuser -u " + serviceUser + " -- " + binary + " db sync --config " + controlConfig
	if _, err := c.Run(ctx, s, script, nil); err != nil {
		return fmt.Errorf("migrate the databases from %s: %w", s.Name, err)
	}
	return nil
}

// readyWithin bounds how long a server's services may take to be ready.
const readyWithin = 2 * time.Minute

func waitServices(ctx context.Context, c *Context, s *topology.Server, roles []serviceRole) error {
	return waitServicesFor(ctx, c, s, roles, readyWithin)
}

func waitServicesFor(ctx context.Context, c *Context, s *topology.Server, roles []serviceRole, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := servicesReady(ctx, c, s, roles)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (after %s; journalctl -u 'hastack-*' on %s says why)", err, within, s.Name)
		case <-c.Clock.After(300 * time.Millisecond):
		}
	}
}

// servicesReady asks the /healthcheck of each role of a server.
func servicesReady(ctx context.Context, c *Context, s *topology.Server, roles []serviceRole) error {
	client := c.Cluster.HTTPClient(4 * time.Second)
	defer client.CloseIdleConnections()
	for _, r := range roles {
		if err := roleReady(ctx, client, s, r); err != nil {
			return err
		}
	}
	return nil
}

func roleReady(ctx context.Context, client *http.Client, s *topology.Server, r serviceRole) error {
	url := "https://" + net.JoinHostPort(s.Management().String(), strconv.Itoa(r.port)) + "/healthcheck"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %s does not answer: %w", s.Name, r.name, err)
	}
	defer resp.Body.Close()
	var h struct {
		Ready   bool     `json:"ready"`
		Waiting []string `json:"waiting"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&h); err != nil {
		return fmt.Errorf("%s: %s answers %s", s.Name, r.name, resp.Status)
	}
	if !h.Ready {
		return fmt.Errorf("%s: %s waits for %s", s.Name, r.name, strings.Join(h.Waiting, ", "))
	}
	return nil
}
