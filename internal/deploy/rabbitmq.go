package deploy

import (
	"context"
	_ "embed" // the configurations under files/
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/topology"
)

// Files of the message broker.
const (
	rabbitDir  = "/etc/rabbitmq"
	rabbitTLS  = rabbitDir + "/tls"
	rabbitLib  = "/usr/lib/hastack/rabbitmq"
	rabbitUnit = "rabbitmq-server.service"
)

//go:embed files/rabbitmq.conf.tmpl
var rabbitTemplate string

//go:embed files/rabbitmq-advanced.config.tmpl
var rabbitAdvanced string

//go:embed files/rabbitmq-env.conf.tmpl
var rabbitEnv string

//go:embed files/rabbitmq-inter-node.config
var rabbitInterNode string

//go:embed files/rabbitmq-queues.erl.tmpl
var rabbitQueues string

//go:embed files/rabbitmq-queues.service
var rabbitQueuesUnit string

//go:embed files/rabbitmq-join.sh.tmpl
var rabbitJoin string

//go:embed files/rabbitmq.service.conf
var rabbitDropIn string

// rabbitPart is the message broker on the control servers: one cluster, every
// queue that matters a quorum queue with a copy on each.
func rabbitPart() *Part {
	return &Part{
		Name:    "rabbitmq",
		Servers: controlServers,
		Want:    wantRabbit,
		Healthy: rabbitHealthy,
		Start:   startRabbit,
		After:   afterRabbit,
	}
}

func rabbitNode(s *topology.Server) string { return "rabbit@" + s.Name }

// A rabbitPeer is a member in the list of all.
type rabbitPeer struct {
	Number int
	Name   string
}

// What the templates of RabbitMQ's files see.
type rabbitView struct {
	Cluster, Node, Address, AddressTuple, TLS, Password, Schedulers string
	Nodes                                                           []rabbitPeer
	MemoryMB, WALBytes                                              int
}

func wantRabbit(c *Context, s *topology.Server) (*Want, error) {
	certs, err := engineCertificates(c, s, rabbitTLS, "rabbitmq")
	if err != nil {
		return nil, err
	}
	for i := range certs { // new connections take the new certificate
		certs[i].Then = []string{"! systemctl -q is-active rabbitmq-server || rabbitmqctl -q eval 'ssl:clear_pem_cache().'"}
	}
	config, err := rabbitConfig(c, s)
	if err != nil {
		return nil, err
	}
	healing, err := rabbitHealing()
	if err != nil {
		return nil, err
	}
	join, err := rabbitJoinScript(c.Topology, s)
	if err != nil {
		return nil, err
	}
	return &Want{
		Packages: []string{"rabbitmq-server"},
		Dirs: []Directory{
			{Path: rabbitTLS, Group: "rabbitmq", Mode: 0o750},
			{Path: rabbitLib, Mode: 0o755},
		},
		Files: slices.Concat(certs, config, healing, []File{join}, rabbitUnits(s)),
		Units: []Unit{{Name: rabbitUnit, Enabled: true, Running: true}},
	}, nil
}

// rabbitConfig are the broker's own files.
func rabbitConfig(c *Context, s *topology.Server) ([]File, error) {
	t, address := c.Topology, s.Management().String()
	v := rabbitView{
		Cluster: t.Name, Node: rabbitNode(s), Address: address, AddressTuple: strings.ReplaceAll(address, ".", ","), TLS: rabbitTLS,
		Password: c.Cluster.Secrets.RabbitPassword.Reveal(), MemoryMB: t.Engines.RabbitMQ.MemoryMB,
		// The write-ahead log is in memory too until it is full.
		WALBytes: max(8, min(256, t.Engines.RabbitMQ.MemoryMB/16)) << 20,
	}
	if v.MemoryMB < 1024 {
		v.Schedulers = "+S 1:1 "
	}
	for i, m := range controlServers(t) {
		v.Nodes = append(v.Nodes, rabbitPeer{i + 1, rabbitNode(m)})
	}
	restart := []string{rabbitUnit}
	files := []File{
		{Path: rabbitDir + "/inter-node.config", Group: "rabbitmq", Mode: 0o640, Content: []byte(rabbitInterNode), Restart: restart},
		{Path: rabbitDir + "/enabled_plugins", Mode: 0o644, Content: []byte("[rabbitmq_prometheus].\n"), Restart: restart},
		{
			Path: "/var/lib/rabbitmq/.erlang.cookie", Owner: "rabbitmq", Group: "rabbitmq", Mode: 0o400, Secret: true,
			Content: []byte(c.Cluster.Secrets.ErlangCookie.Reveal()), Restart: restart,
		},
	}
	for _, f := range []struct {
		path, template string
		secret         bool
	}{
		{rabbitDir + "/rabbitmq.conf", rabbitTemplate, true},
		{rabbitDir + "/advanced.config", rabbitAdvanced, false},
		{rabbitDir + "/rabbitmq-env.conf", rabbitEnv, false},
	} {
		b, err := render(f.path, f.template, v)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: f.path, Group: "rabbitmq", Mode: 0o640, Secret: f.secret, Content: b, Restart: restart})
	}
	return files, nil
}

// rabbitJoinScript makes a member that lost its data a new one.
func rabbitJoinScript(t *topology.Topology, s *topology.Server) (File, error) {
	var others []string
	for _, m := range controlServers(t) {
		if m.Name != s.Name {
			others = append(others, rabbitNode(m))
		}
	}
	b, err := render("join", rabbitJoin, struct {
		Node   string
		Others []string
	}{rabbitNode(s), others})
	return File{Path: rabbitLib + "/join", Mode: 0o755, Content: b}, err
}

// rabbitHealing is what the node agent starts when queues lack a leader.
func rabbitHealing() ([]File, error) {
	files := []File{{
		Path: "/etc/systemd/system/hastack-rabbitmq-queues@.service", Mode: 0o644,
		Content: []byte(rabbitQueuesUnit), Then: []string{"systemctl daemon-reload"},
	}}
	for _, action := range []string{"check", "elect", "delete", "mend"} {
		b, err := render(action, rabbitQueues, action)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: rabbitLib + "/" + action + ".erl", Mode: 0o644, Content: b})
	}
	return files, nil
}

// rabbitUnits change the units that Debian brings.
func rabbitUnits(s *topology.Server) []File {
	return []File{
		{
			Path: "/etc/systemd/system/rabbitmq-server.service.d/hastack.conf", Mode: 0o644,
			Content: []byte(rabbitDropIn), Restart: []string{rabbitUnit},
		},
		{
			Path: "/etc/systemd/system/epmd.socket.d/hastack.conf", Mode: 0o644,
			Content: fmt.Appendf(nil, "[Socket]\nListenStream=\nListenStream=127.0.0.1:4369\nListenStream=%s:4369\nFreeBind=true\n", s.Management()),
			Then: []string{"systemctl daemon-reload; up=; ! systemctl -q is-active rabbitmq-server || up=rabbitmq-server; " +
				"systemctl stop rabbitmq-server epmd.service epmd.socket; systemctl start epmd.socket $up"},
		},
	}
}

// startRabbit brings the first member up alone, so that the others find whom
// to join, and after that the others at once when the cluster is new; members
// of a cluster that serves change one at a time.
func startRabbit(ctx context.Context, c *Context, changed map[string][]Change) error {
	servers := controlServers(c.Topology)
	running := map[string]bool{}
	for _, s := range servers {
		running[s.Name] = rabbitAnswers(ctx, c, s) == nil
	}
	for i, s := range servers {
		if len(changed[s.Name]) == 0 {
			continue
		}
		c.progress().Server(s.Name, "broker starts", false)
		if !running[s.Name] && i > 0 {
			continue // below, at once
		}
		if err := c.Settle(ctx, s, changed[s.Name]); err != nil {
			return err
		}
		if err := c.await(ctx, 5*time.Minute, func(ctx context.Context) error { return rabbitAnswers(ctx, c, s) }); err != nil {
			return err
		}
	}
	var rest []*topology.Server
	for _, s := range servers[1:] {
		if len(changed[s.Name]) > 0 && !running[s.Name] {
			rest = append(rest, s)
		}
	}
	if err := dropForgotten(ctx, c, rest); err != nil {
		return err
	}
	return c.Everywhere(ctx, rest, func(ctx context.Context, s *topology.Server) error {
		return c.Settle(ctx, s, changed[s.Name])
	})
}

// dropForgotten takes from servers whose brokers do not run the data of a member
// that the cluster has forgotten: with them a broker would not start. Such a
// server was removed once, and is to join as a new one.
func dropForgotten(ctx context.Context, c *Context, servers []*topology.Server) error {
	if len(servers) == 0 {
		return nil
	}
	for _, s := range controlServers(c.Topology) {
		if rabbitAnswers(ctx, c, s) != nil {
			continue
		}
		out, err := c.Run(ctx, s, "export LC_ALL=C; rabbitmqctl -q cluster_status --formatter json", nil)
		if err != nil {
			return fmt.Errorf("ask the message broker on %s for its members: %w", s.Name, err)
		}
		var cluster struct {
			Members []string `json:"disk_nodes"`
		}
		if err := json.Unmarshal(out, &cluster); err != nil {
			return fmt.Errorf("ask the message broker on %s for its members: %w", s.Name, err)
		}
		forgotten := slices.DeleteFunc(slices.Clone(servers), func(s *topology.Server) bool { return slices.Contains(cluster.Members, rabbitNode(s)) })
		return c.Everywhere(ctx, forgotten, func(ctx context.Context, s *topology.Server) error {
			_, err := c.Run(ctx, s, "systemctl stop rabbitmq-server && rm -rf /var/lib/rabbitmq/mnesia/"+rabbitNode(s)+"*", nil)
			return err
		})
	}
	return nil
}

// await polls until ok returns nil; it returns the last error.
func (c *Context) await(ctx context.Context, within time.Duration, ok func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := ok(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-c.Clock.After(time.Second):
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", within, err)
		}
	}
}

// rabbitAnswers is a broker whose start is complete.
func rabbitAnswers(ctx context.Context, c *Context, s *topology.Server) error {
	if _, err := c.Run(ctx, s, "[ \"$(systemctl show -p ActiveState --value rabbitmq-server)\" = active ]", nil); err != nil {
		return fmt.Errorf("the message broker on %s does not run yet: journalctl -u rabbitmq-server there tells why", s.Name)
	}
	return nil
}

// rabbitHealthy is a broker in one cluster with all others. Its metrics tell,
// as RabbitMQ's own tool takes a second of processor time.
func rabbitHealthy(ctx context.Context, c *Context, s *topology.Server) error {
	if err := rabbitAnswers(ctx, c, s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(s.Management().String(), "15692")+"/metrics", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("the message broker on %s: %w", s.Name, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("the message broker on %s: %w", s.Name, err)
	}
	for _, m := range controlServers(c.Topology) {
		if m != s && !strings.Contains(string(body), `erlang_vm_dist_node_state{peer="`+rabbitNode(m)+`"} 3`) {
			return fmt.Errorf("the message broker on %s does not see the one on %s", s.Name, m.Name)
		}
	}
	return nil
}

// afterRabbit makes sure of the one user, and that nobody else gets in.
func afterRabbit(ctx context.Context, c *Context) error {
	const script = `set -e; export LC_ALL=C
read -r password
users=$(rabbitmqctl -q list_users --no-table-headers | cut -f1)
for u in $users; do [ "$u" = hastack ] || rabbitmqctl -q delete_user "$u"; done
case " $(echo $users) " in *" hastack "*) ;; *) printf '%s\n' "$password" | rabbitmqctl -q add_user hastack; rabbitmqctl -q set_permissions hastack '.*' '.*' '.*' ;; esac
printf '%s\n' "$password" | rabbitmqctl -q authenticate_user hastack >/dev/null 2>&1 || printf '%s\n' "$password" | rabbitmqctl -q change_password hastack
`
	s := controlServers(c.Topology)[0]
	if _, err := c.Run(ctx, s, script, strings.NewReader(c.Cluster.Secrets.RabbitPassword.Reveal()+"\n")); err != nil {
		return fmt.Errorf("make the broker's user: %w", err)
	}
	return nil
}
