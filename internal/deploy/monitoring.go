package deploy

import (
	"context"
	_ "embed" // the configurations under files/
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/alarm"
	"github.com/hastack/hastack/internal/topology"
)

// Ports and files of the monitors.
const (
	prometheusPort    = 9090
	alertmanagerPort  = 9093
	alertClusterPort  = 9094
	rabbitMetricsPort = 15692

	prometheusUser = "prometheus"
	prometheusUnit = "prometheus.service"
	alertUnit      = "prometheus-alertmanager.service"
	monitorDir     = "/etc/prometheus"
	monitorTLS     = monitorDir + "/tls"
	rulesFile      = monitorDir + "/hastack-rules.yml"
	webFile        = monitorDir + "/hastack-web.yml"
	alertTLSFile   = monitorDir + "/hastack-cluster-tls.yml"
	alertFile      = monitorDir + "/hastack-alertmanager.yml"
)

//go:embed files/prometheus.yml.tmpl
var prometheusTemplate string

//go:embed files/alertmanager.yml.tmpl
var alertmanagerTemplate string

// monitoringPart is a Prometheus and an Alertmanager on every monitor. Each
// Prometheus sees all and decides for itself, so the loss of any but the last
// leaves the cluster watched; the Alertmanagers tell each other what was sent.
func monitoringPart() *Part {
	return &Part{
		Name:    "monitoring",
		Servers: func(t *topology.Topology) []*topology.Server { return t.Monitors() },
		Want:    wantMonitoring,
		Healthy: monitorReady,
	}
}

func wantMonitoring(c *Context, s *topology.Server) (*Want, error) {
	certPEM, keyPEM, err := c.Cluster.Certificate(s)
	if err != nil {
		return nil, err
	}
	conf, err := render("prometheus.yml", prometheusTemplate, prometheusView(c.Topology))
	if err != nil {
		return nil, err
	}
	rules, err := alarm.Rules(c.Topology, s.Name)
	if err != nil {
		return nil, err
	}
	alerts, err := render("alertmanager.yml", alertmanagerTemplate, c.Topology.Alarms)
	if err != nil {
		return nil, err
	}
	prometheus, alertmanager := []string{prometheusUnit}, []string{alertUnit}
	return &Want{
		// Both read certificates anew at every connection: no restart for them.
		Packages: []string{"prometheus", "prometheus-alertmanager"},
		Dirs:     []Directory{{Path: monitorTLS, Group: prometheusUser, Mode: 0o750}},
		Files: []File{
			{Path: monitorTLS + "/ca.pem", Mode: 0o644, Content: c.Cluster.CAPEM()},
			{Path: monitorTLS + "/server-key.pem", Group: prometheusUser, Mode: 0o640, Content: keyPEM, Secret: true},
			{Path: monitorTLS + "/server.pem", Mode: 0o644, Content: certPEM},
			{Path: webFile, Mode: 0o644, Content: []byte(webConfig)},
			{Path: alertTLSFile, Mode: 0o644, Content: []byte(alertClusterTLS), Restart: alertmanager},
			{Path: monitorDir + "/prometheus.yml", Mode: 0o644, Content: conf, Reload: prometheus},
			{Path: rulesFile, Mode: 0o644, Content: rules, Reload: prometheus},
			{Path: alertFile, Group: prometheusUser, Mode: 0o640, Content: alerts, Secret: len(c.Topology.Alarms.Webhooks) > 0, Reload: alertmanager},
			{Path: "/etc/default/prometheus", Mode: 0o644, Content: []byte(prometheusArgs(s)), Restart: prometheus},
			{Path: "/etc/default/prometheus-alertmanager", Mode: 0o644, Content: []byte(alertmanagerArgs(c.Topology, s)), Restart: alertmanager},
			{Path: unitDir + prometheusUnit + ".d/hastack.conf", Mode: 0o644, Content: []byte(monitorDropIn), Restart: prometheus},
			{Path: unitDir + alertUnit + ".d/hastack.conf", Mode: 0o644, Content: []byte(monitorDropIn), Restart: alertmanager},
		},
		Units: []Unit{{Name: prometheusUnit, Enabled: true, Running: true}, {Name: alertUnit, Enabled: true, Running: true}},
	}, nil
}

// What the template of Prometheus' configuration sees.
type (
	scrapeTarget struct {
		Address      netip.AddrPort
		Server, Role string
	}
	scrapeJob struct {
		Name, Every string
		Plain       bool
		Targets     []scrapeTarget
	}
)

func prometheusView(t *topology.Topology) map[string]any {
	node := scrapeJob{Name: "node", Every: alarm.ScrapeEvery.String()}
	service, haproxy := scrapeJob{Name: "service"}, scrapeJob{Name: "haproxy"}
	rabbit := scrapeJob{Name: "rabbitmq", Plain: true}
	prometheus, alertmanager := scrapeJob{Name: "prometheus"}, scrapeJob{Name: "alertmanager"}
	add := func(j *scrapeJob, s *topology.Server, port int, role string) {
		j.Targets = append(j.Targets, scrapeTarget{netip.AddrPortFrom(s.Management(), uint16(port)), s.Name, role})
	}
	for _, s := range t.Servers {
		add(&node, s, NodePort, "")
		roles := agentRoles(s)
		if s.Has(topology.RoleControl) {
			roles = append(controlRoles(), roles...)
			add(&rabbit, s, rabbitMetricsPort, "")
		}
		for _, r := range roles {
			add(&service, s, r.port, r.name)
		}
		if s.Has(topology.RoleLoadBalancer) {
			add(&haproxy, s, haproxyMetricsPort, "")
		}
	}
	var alertmanagers []netip.AddrPort
	for _, s := range t.Monitors() {
		add(&prometheus, s, prometheusPort, "")
		add(&alertmanager, s, alertmanagerPort, "")
		alertmanagers = append(alertmanagers, netip.AddrPortFrom(s.Management(), alertmanagerPort))
	}
	return map[string]any{
		"EnginesEvery": alarm.EnginesEvery.String(), "Timeout": alarm.ScrapeTimeout.String(), "EvaluateEvery": alarm.EvaluateEvery.String(),
		"Rules": rulesFile, "TLS": monitorTLS, "Alertmanagers": alertmanagers,
		"Jobs": []scrapeJob{node, service, haproxy, rabbit, prometheus, alertmanager},
	}
}

// webConfig lets only those in who show a certificate of the cluster.
const webConfig = `# Written by hastack deploy; changes made here are drift and are undone.
tls_server_config:
  cert_file: ` + monitorTLS + `/server.pem
  key_file: ` + monitorTLS + `/server-key.pem
  client_ca_file: ` + monitorTLS + `/ca.pem
  client_auth_type: RequireAndVerifyClientCert
  min_version: TLS12
`

// alertClusterTLS is how the Alertmanagers talk to each other.
const alertClusterTLS = `# Written by hastack deploy; changes made here are drift and are undone.
tls_server_config:
  cert_file: ` + monitorTLS + `/server.pem
  key_file: ` + monitorTLS + `/server-key.pem
  client_ca_file: ` + monitorTLS + `/ca.pem
  client_auth_type: RequireAndVerifyClientCert
tls_client_config:
  ca_file: ` + monitorTLS + `/ca.pem
  cert_file: ` + monitorTLS + `/server.pem
  key_file: ` + monitorTLS + `/server-key.pem
`

// monitorDropIn starts a monitor again whatever ended it, and lets the kernel
// end it before an engine when memory is short. A frozen one must be killed.
const monitorDropIn = `[Unit]
StartLimitIntervalSec=0

[Service]
Restart=always
RestartSec=1s
SendSIGKILL=yes
OOMScoreAdjust=500
Environment=GOGC=50
`

func arguments(args ...string) string {
	return "# Written by hastack deploy; changes made here are drift and are undone.\nARGS=\"" + strings.Join(args, " ") + "\"\n"
}

func prometheusArgs(s *topology.Server) string {
	return arguments("--config.file="+monitorDir+"/prometheus.yml", "--web.config.file="+webFile,
		fmt.Sprintf("--web.listen-address=%s:%d", s.Management(), prometheusPort),
		fmt.Sprintf("--web.external-url=https://%s:%d/", s.FQDN(), prometheusPort),
		"--storage.tsdb.path=/var/lib/prometheus/metrics2", "--storage.tsdb.retention.time=15d", "--storage.tsdb.retention.size=2GB",
		"--storage.tsdb.wal-compression", "--query.max-concurrency=4",
		// By default what it read before a power cut holds for five minutes after it.
		"--query.lookback-delta="+(2*alarm.EnginesEvery+alarm.ScrapeTimeout).String(), "--log.format=json", "--log.level=warn")
}

func alertmanagerArgs(t *topology.Topology, s *topology.Server) string {
	args := []string{"--config.file=" + alertFile, "--web.config.file=" + webFile, "--storage.path=/var/lib/prometheus/alertmanager",
		fmt.Sprintf("--web.listen-address=%s:%d", s.Management(), alertmanagerPort),
		fmt.Sprintf("--web.external-url=https://%s:%d/", s.FQDN(), alertmanagerPort),
		fmt.Sprintf("--cluster.listen-address=%s:%d", s.Management(), alertClusterPort),
		fmt.Sprintf("--cluster.advertise-address=%s:%d", s.Management(), alertClusterPort),
		"--cluster.tls-config=" + alertTLSFile, "--cluster.peer-timeout=3s", "--cluster.reconnect-interval=5s",
		"--log.format=json", "--log.level=warn"}
	for _, m := range t.Monitors() {
		if m != s {
			args = append(args, fmt.Sprintf("--cluster.peer=%s:%d", m.Management(), alertClusterPort))
		}
	}
	return arguments(args...)
}

// monitorReady asks both whether they serve.
func monitorReady(ctx context.Context, c *Context, s *topology.Server) error {
	client := c.Cluster.HTTPClient(4 * time.Second)
	defer client.CloseIdleConnections()
	for unit, port := range map[string]int{prometheusUnit: prometheusPort, alertUnit: alertmanagerPort} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, serviceURL(s.Management(), port)+"/-/ready", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("%s: %s does not answer: %w", s.Name, unit, err)
		}
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s answers %s", s.Name, unit, resp.Status)
		}
	}
	return nil
}
