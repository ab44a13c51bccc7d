package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

// RabbitConfig is how the agent asks the broker on its server.
type RabbitConfig struct {
	// Metrics is the base URL of the broker's Prometheus plugin on this server.
	Metrics string `yaml:"metrics"`
	// Members are the servers of the cluster, this one among them.
	Members []string `yaml:"members"`
}

func (r *RabbitConfig) validate() error {
	if r.Metrics == "" {
		return errors.New("metrics is needed")
	}
	return nil
}

// Rabbit is the broker as it sees itself.
type Rabbit struct {
	Answers    bool     `json:"answers"`
	Running    []string `json:"running"` // members that this one sees
	Members    int      `json:"members"` // that there should be
	Queues     int      `json:"queues"`
	Unsynced   int      `json:"unsynced"`         // quorum queues without all their members, or without a leader
	Unwell     []string `json:"unwell,omitempty"` // what the last look found wrong with queues and members, by name
	Messages   int      `json:"messages"`         // ready and unacknowledged
	Consumers  int      `json:"consumers"`
	Alarms     []string `json:"alarms,omitempty"`     // memory, disk
	Partitions []string `json:"partitions,omitempty"` // members that it does not see
}

// rabbit asks the broker.
type rabbit struct {
	cfg    *RabbitConfig
	name   string
	clock  clock.Clock
	client *http.Client
	healer *rabbitHealer // nil on all members but the first
	watch  *rabbitWatch

	mu      sync.Mutex // guards the rest
	running []string
	at      time.Time // of running
}

func newRabbit(cfg *RabbitConfig, server string, deps Deps, state func() *State) *rabbit {
	r := &rabbit{cfg: cfg, name: server, clock: deps.Clock, client: &http.Client{Timeout: 3 * time.Second}}
	r.watch = &rabbitWatch{clock: deps.Clock, log: deps.Log, members: cfg.Members, running: r.recent, state: state, kill: killRabbit}
	if len(cfg.Members) > 0 && cfg.Members[0] == server {
		r.healer = &rabbitHealer{
			clock: deps.Clock, log: deps.Log, members: cfg.Members, running: r.recent, act: rabbitAction, found: rabbitFound,
		}
	}
	return r
}

// recent are the members that were running a moment ago, none when the broker
// did not answer.
func (r *rabbit) recent() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.clock.Now().Sub(r.at) > 3*r.Every() {
		return nil
	}
	return r.running
}

func (r *rabbit) Name() string         { return "rabbit" }
func (r *rabbit) Every() time.Duration { return 5 * time.Second }

// Collect looks at members and queues.
func (r *rabbit) Collect(ctx context.Context) (Facts, error) {
	seen := &Rabbit{Members: len(r.cfg.Members)}
	facts := func(s *State) { s.Rabbit = seen }
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.cfg.Metrics+"/metrics", nil)
	if err != nil {
		return facts, err
	}
	// Until the broker has answered or not, what it said last holds.
	var running []string
	defer func() { r.sees(running) }()
	resp, err := r.client.Do(req)
	if err != nil {
		return facts, fmt.Errorf("ask the broker: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return facts, fmt.Errorf("ask the broker: %s", resp.Status)
	}
	if err := r.read(io.LimitReader(resp.Body, 16<<20), seen); err != nil {
		return facts, fmt.Errorf("ask the broker: %w", err)
	}
	seen.Answers = true
	found, err := rabbitFound()
	for _, f := range found {
		if !f.member() {
			seen.Unsynced++
		}
		seen.Unwell = append(seen.Unwell, f.what+" "+f.queue)
	}
	running = seen.Running
	return facts, err
}

// sees notes the members that are running; nil when the broker does not answer.
func (r *rabbit) sees(running []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running, r.at = running, r.clock.Now()
}

// read takes what counts from the broker's metrics.
func (r *rabbit) read(body io.Reader, into *Rabbit) error {
	up := map[string]bool{r.name: true}
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		name, text, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			continue
		}
		switch name {
		case "rabbitmq_queues":
			into.Queues = int(n)
		case "rabbitmq_queue_messages":
			into.Messages = int(n)
		case "rabbitmq_consumers":
			into.Consumers = int(n)
		case "rabbitmq_alarms_memory_used_watermark":
			into.alarm("memory", n)
		case "rabbitmq_alarms_free_disk_space_watermark":
			into.alarm("disk", n)
		case "rabbitmq_alarms_file_descriptor_limit":
			into.alarm("files", n)
		}
		if peer, ok := strings.CutPrefix(name, `erlang_vm_dist_node_state{peer="rabbit@`); ok && n == 3 {
			up[strings.TrimSuffix(peer, `"}`)] = true
		}
	}
	for _, m := range r.cfg.Members {
		if up[m] {
			into.Running = append(into.Running, m)
		} else {
			into.Partitions = append(into.Partitions, m)
		}
	}
	slices.Sort(into.Running)
	return lines.Err()
}

func (r *Rabbit) alarm(what string, n float64) {
	if n > 0 {
		r.Alarms = append(r.Alarms, what)
	}
}
