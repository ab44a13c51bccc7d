package agent

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/neutron/dataplane"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// The statuses a port was reported with.
const (
	portUp    = "up"
	portDown  = "down"
	portError = "error"
)

// reportPorts tells the server which ports came up or went down. It says a
// thing once, and again if the server later shows that it believes otherwise.
func (a *Agent) reportPorts(ctx context.Context, res *dataplane.L2Result) error {
	args := rpc.PortsStatusArgs{Host: a.cfg.Host}
	said := map[string]string{}
	for _, id := range res.Up {
		if a.reported[id] != portUp || a.model.ports[id].Status != "ACTIVE" {
			args.Up, said[id] = append(args.Up, id), portUp
		}
	}
	for _, id := range res.Missing {
		was := a.reported[id]
		if was == portUp || was == "" && a.model.ports[id].Status == "ACTIVE" {
			args.Down, said[id] = append(args.Down, id), portDown
		}
	}
	for id := range res.Bad {
		if a.model.ports[id] != nil && a.reported[id] != portError {
			args.Error, said[id] = append(args.Error, id), portError
		}
	}
	for id := range a.reported {
		if a.model.ports[id] == nil {
			delete(a.reported, id)
		}
	}
	if len(said) == 0 {
		return nil
	}
	if err := a.call(ctx, rpc.MethodPortsStatus, args); err != nil {
		return err
	}
	for id, status := range said {
		a.reported[id] = status
		if p := a.model.ports[id]; status == portUp {
			p.Status = "ACTIVE" // until the server says otherwise
		} else if status == portDown {
			p.Status = "DOWN"
		}
	}
	return nil
}

// reportRouters tells the server what became of routers, when it differs from
// what was said last.
func (a *Agent) reportRouters(ctx context.Context, statuses []rpc.RouterStatus) error {
	var send []rpc.RouterStatus
	said := map[string]string{}
	for _, s := range statuses {
		b, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if a.routers[s.RouterID] != string(b) || a.disbelieved(&s) {
			send, said[s.RouterID] = append(send, s), string(b)
		}
	}
	if len(send) == 0 {
		return nil
	}
	if err := a.call(ctx, rpc.MethodRouterStatus, rpc.RouterStatusArgs{Host: a.cfg.Host, Routers: send}); err != nil {
		return err
	}
	maps.Copy(a.routers, said)
	return nil
}

// disbelieved tells that the server shows another status of a floating IP.
func (a *Agent) disbelieved(s *rpc.RouterStatus) bool {
	r := a.model.routers[s.RouterID]
	if r == nil {
		return false
	}
	for _, f := range r.FloatingIPs {
		if f.Status != s.FloatingIPs[f.ID] {
			return true
		}
	}
	return false
}

func (a *Agent) call(ctx context.Context, method string, args any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var reply rpc.Empty
	return a.bus.Call(ctx, bus.Target{Topic: rpc.Topic}, method, args, &reply)
}

// hear notes the latest revision that a notification or an answer named.
func (a *Agent) hear(revision int64) {
	a.mu.Lock()
	a.heard = max(a.heard, revision)
	a.mu.Unlock()
}

func (a *Agent) heardOf() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.heard
}
