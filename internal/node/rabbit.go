package node

import (
	"context"
	"errors"
	"time"
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
	Unsynced   int      `json:"unsynced"` // quorum queues without all their members
	Messages   int      `json:"messages"` // ready and unacknowledged
	Consumers  int      `json:"consumers"`
	Alarms     []string `json:"alarms,omitempty"`     // memory, disk
	Partitions []string `json:"partitions,omitempty"` // members that it does not see
}

// rabbit asks the broker.
type rabbit struct{ cfg *RabbitConfig }

func newRabbit(cfg *RabbitConfig) *rabbit { return &rabbit{cfg: cfg} }

func (r *rabbit) Name() string         { return "rabbit" }
func (r *rabbit) Every() time.Duration { return 5 * time.Second }

// Collect looks at members and queues.
func (r *rabbit) Collect(context.Context) (Facts, error) { return nil, errors.ErrUnsupported }
