package deploy

import (
	"context"
	_ "embed" // the configurations under files/
	"fmt"
	"strings"

	"github.com/hastack/hastack/internal/topology"
)

// Files of the database.
const (
	galeraTLS  = "/etc/mysql/tls"
	galeraUnit = "mariadb.service"
	galeraLib  = "/usr/lib/hastack/galera"
)

//go:embed files/galera.cnf.tmpl
var galeraTemplate string

//go:embed files/galera.service.conf
var galeraDropIn string

//go:embed files/galera-prepare.sh
var galeraPrepare string

//go:embed files/galera-start.sh
var galeraStart string

// databases are those of the services.
func databases() []string {
	return []string{"keystone", "glance", "placement", "nova", "neutron", "audit"}
}

// galeraPart is the database on the control servers: one MariaDB Galera
// cluster, each member with everything. It is written to at one member at a
// time, which HAProxy chooses.
func galeraPart() *Part {
	return &Part{
		Name:    "galera",
		Servers: controlServers,
		Want:    wantGalera,
		Healthy: galeraHealthy,
		Start:   startGalera,
		After:   afterGalera,
	}
}

func controlServers(t *topology.Topology) []*topology.Server { return t.With(topology.RoleControl) }

func wantGalera(c *Context, s *topology.Server) (*Want, error) {
	conf, err := galeraConfig(c.Topology, s)
	if err != nil {
		return nil, err
	}
	certs, err := engineCertificates(c, s, galeraTLS, "mysql")
	if err != nil {
		return nil, err
	}
	restart := []string{galeraUnit}
	for i := range certs {
		// Read again by a server that runs; open connections stay.
		certs[i].Then = []string{`! systemctl -q is-active mariadb || mariadb -e "FLUSH SSL; SET GLOBAL wsrep_provider_options='socket.ssl_reload=1'"`}
	}
	return &Want{
		Packages: []string{"mariadb-server", "mariadb-backup", "galera-4", "socat"},
		Dirs: []Directory{
			{Path: galeraTLS, Group: "mysql", Mode: 0o750},
			{Path: galeraLib, Mode: 0o755},
		},
		Files: append(certs,
			File{Path: "/etc/mysql/mariadb.conf.d/99-hastack.cnf", Mode: 0o644, Content: conf, Restart: restart},
			File{Path: galeraLib + "/prepare", Mode: 0o755, Content: []byte(galeraPrepare)},
			File{Path: galeraLib + "/start", Mode: 0o755, Content: []byte(galeraStart)},
			File{
				Path: "/etc/systemd/system/mariadb.service.d/hastack.conf", Mode: 0o644,
				Content: []byte(galeraDropIn), Then: []string{"systemctl daemon-reload"},
			},
		),
		Units: []Unit{{Name: galeraUnit, Enabled: true, Running: true}},
	}, nil
}

// engineCertificates are the server's certificate, its key and the authority,
// readable by an engine that does not run as hastack.
func engineCertificates(c *Context, s *topology.Server, dir, group string) ([]File, error) {
	certPEM, keyPEM, err := c.Cluster.Certificate(s)
	if err != nil {
		return nil, err
	}
	return []File{
		{Path: dir + "/ca.pem", Mode: 0o644, Content: c.Cluster.CAPEM()},
		{Path: dir + "/server.pem", Mode: 0o644, Content: certPEM},
		{Path: dir + "/server-key.pem", Group: group, Mode: 0o640, Content: keyPEM, Secret: true},
	}, nil
}

// galeraConfig is the member's configuration.
func galeraConfig(t *topology.Topology, s *topology.Server) ([]byte, error) {
	var members []string
	for _, m := range controlServers(t) {
		members = append(members, m.Management().String())
	}
	e := t.Engines.MariaDB
	return render("galera.cnf", galeraTemplate, struct {
		Name, Address, Cluster, Members, TLS, Provider string
		Engine                                         any
	}{
		Name: s.Name, Address: s.Management().String(), Cluster: t.Name, Members: strings.Join(members, ","), TLS: galeraTLS,
		Provider: galeraProvider(s.Management().String(), e.GcacheMB), Engine: e,
	})
}

// galeraProvider are the options of the replication. A member that is silent
// for 1.5 s is suspected, and gone when all others suspect it: commits stall
// for about that long when it dies. Less would throw out members of a busy
// machine whose threads are late; the default of 5 s costs the writer's
// clients more than all the rest of a switch.
func galeraProvider(address string, gcacheMB int) string {
	return strings.Join([]string{
		"gmcast.listen_addr=ssl://" + address + ":4567", "ist.recv_addr=" + address + ":4568",
		fmt.Sprintf("gcache.size=%dM", gcacheMB), "gcache.recover=yes", "pc.recovery=true", "pc.wait_prim_timeout=PT10M",
		"socket.ssl=yes", "socket.ssl_ca=" + galeraTLS + "/ca.pem",
		"socket.ssl_cert=" + galeraTLS + "/server.pem", "socket.ssl_key=" + galeraTLS + "/server-key.pem",
		"evs.keepalive_period=PT0.3S", "evs.inactive_check_period=PT0.3S", "evs.join_retrans_period=PT0.3S",
		"evs.suspect_timeout=PT1.5S", "evs.inactive_timeout=PT3S", "evs.install_timeout=PT3S",
		"gmcast.peer_timeout=PT1.5S", "gmcast.time_wait=PT1.5S",
	}, ";")
}

// galeraHealthy is a member that takes writes, in a component with all others.
func galeraHealthy(ctx context.Context, c *Context, s *topology.Server) error {
	m, err := surveyMember(ctx, c, s)
	if err != nil {
		return err
	}
	want := len(controlServers(c.Topology))
	switch {
	case !m.primary:
		return fmt.Errorf("the database on %s is %s", s.Name, m.daemon())
	case !m.synced():
		return fmt.Errorf("the database on %s is not in step with the others yet", s.Name)
	case m.size != want:
		return fmt.Errorf("the database on %s sees %d of %d members", s.Name, m.size, want)
	}
	return nil
}

// afterGalera makes the databases and the users, if anything is missing.
func afterGalera(ctx context.Context, c *Context) error {
	s := controlServers(c.Topology)[0]
	if _, err := c.Run(ctx, s, "exec mariadb", strings.NewReader(galeraSQL(c))); err != nil {
		return fmt.Errorf("make databases and users: %w", err)
	}
	return nil
}

// galeraSQL changes nothing where everything is as it should be: statements on
// users stop the whole cluster for a moment.
func galeraSQL(c *Context) string {
	var b strings.Builder
	block := func(unless string, do ...string) {
		fmt.Fprintf(&b, "DELIMITER //\nBEGIN NOT ATOMIC\nIF NOT EXISTS (%s) THEN\n%s;\nEND IF;\nEND//\nDELIMITER ;\n", unless, strings.Join(do, ";\n"))
	}
	for _, d := range databases() {
		block("SELECT 1 FROM information_schema.schemata WHERE schema_name = '"+d+"'",
			"CREATE DATABASE IF NOT EXISTS "+d+" CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
	}
	user := func(name, host, password, ssl string, grants ...string) {
		do := []string{
			"CREATE USER IF NOT EXISTS " + name + "@'" + host + "'",
			"ALTER USER " + name + "@'" + host + "' IDENTIFIED BY '" + sqlText(password) + "' REQUIRE " + ssl,
		}
		block("SELECT 1 FROM mysql.user WHERE user = '"+name+"' AND host = '"+host+"' AND authentication_string = PASSWORD('"+sqlText(password)+"')",
			append(do, grants...)...)
	}
	// Each service has its own user, which sees its own database only.
	for _, d := range databases() {
		user(d, "%", c.Cluster.Secrets.DatabaseService.Reveal(), "SSL", "GRANT ALL ON "+d+".* TO "+d+"@'%'")
	}
	// The node agent asks by the socket, and may see no data.
	user("monitor", "localhost", c.Cluster.Secrets.DatabaseMonitor.Reveal(), "NONE", "GRANT PROCESS ON *.* TO monitor@localhost")
	return b.String()
}

func sqlText(s string) string { return strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) }
