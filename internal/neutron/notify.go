package neutron

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/neutron/rpc"
)

// maxNamed is how many ids a notification names; beyond it agents pull all.
const maxNamed = 400

// A notifier gathers what changed while a notification is on its way, so that
// a burst of changes costs few messages and a lone one does not wait.
type notifier struct {
	wake chan struct{}

	mu      sync.Mutex // guards pending
	pending change
}

func newNotifier() *notifier { return &notifier{wake: make(chan struct{}, 1)} }

func (n *notifier) add(ch *change) {
	n.mu.Lock()
	p := &n.pending
	p.networks = append(p.networks, ch.networks...)
	p.ports = append(p.ports, ch.ports...)
	p.routers = append(p.routers, ch.routers...)
	p.groups = append(p.groups, ch.groups...)
	p.all = p.all || ch.all || len(p.ports)+len(p.networks)+len(p.routers)+len(p.groups) > maxNamed
	if p.all {
		p.networks, p.ports, p.routers, p.groups = nil, nil, nil, nil
	}
	p.revision = max(p.revision, ch.revision)
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *notifier) take() change {
	n.mu.Lock()
	defer n.mu.Unlock()
	ch := n.pending
	n.pending = change{}
	return ch
}

// notifyLoop tells agents what changed. A notification that is lost is made
// good by the revision in the next heartbeat's reply.
func (s *Service) notifyLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.notifier.wake:
		}
		ch := s.notifier.take()
		if ch.empty() {
			continue
		}
		msg := rpc.Changed{
			Networks: unique(ch.networks), Ports: unique(ch.ports), Routers: unique(ch.routers),
			SecurityGroups: unique(ch.groups), Revision: ch.revision,
		}
		sendCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
		if err := s.bus.Fanout(sendCtx, rpc.AgentTopic, rpc.MethodChanged, &msg); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "agents were not told of a change", "error", err, "revision", ch.revision)
		}
		cancel()
	}
}

func unique(l []string) []string {
	slices.Sort(l)
	return slices.Compact(l)
}
