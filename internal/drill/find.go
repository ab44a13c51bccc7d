package drill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hastack/hastack/internal/topology"
)

// agentView is what drills read of an agent's state: where things are now.
type agentView struct {
	VIPs []struct {
		Name string `json:"name"`
		Held bool   `json:"held"`
	} `json:"vips"`
	HAProxy *struct {
		Writer string `json:"writer"`
	} `json:"haproxy"`
}

func (t *Target) view(ctx context.Context, s *topology.Server) (*agentView, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var v agentView
	return &v, getJSON(ctx, t.HTTP, fmt.Sprintf("https://%s:9180/state", s.Management()), &v)
}

// holderOf is the server that holds a VIP now.
func (t *Target) holderOf(ctx context.Context, vip string) (string, error) {
	var errs []error
	for _, s := range t.Topology.With(topology.RoleLoadBalancer) {
		v, err := t.view(ctx, s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, held := range v.VIPs {
			if held.Name == vip && held.Held {
				return s.Name, nil
			}
		}
	}
	return "", errors.Join(fmt.Errorf("nobody says that it holds VIP %s", vip), errors.Join(errs...))
}

// writer is the server whose database takes the writes now: the one that the
// load balancer which holds the api VIP sends them to.
func (t *Target) writer(ctx context.Context) (string, error) {
	holder, err := t.holderOf(ctx, "api")
	if err != nil {
		return "", err
	}
	v, err := t.view(ctx, t.Topology.Server(holder))
	if err != nil {
		return "", err
	}
	if v.HAProxy == nil || t.Topology.Server(v.HAProxy.Writer) == nil {
		return "", fmt.Errorf("the load balancer of %s does not say which database takes the writes", holder)
	}
	return v.HAProxy.Writer, nil
}

// otherDatabase is a database server that does not take the writes.
func (t *Target) otherDatabase(ctx context.Context) (string, error) {
	writer, err := t.writer(ctx)
	if err != nil {
		return "", err
	}
	for _, s := range t.Topology.With(topology.RoleControl) {
		if s.Name != writer {
			return s.Name, nil
		}
	}
	return "", errors.New("there is only one database server")
}
