package agent

import (
	"context"
	"encoding/json"
	"maps"
	"time"

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

// heartbeats tells the server that the parts live, and pulls everything when
// the answer shows that a notification was lost.
func (a *Agent) heartbeats(ctx context.Context) {
	ticker := a.clock.NewTicker(a.cfg.HeartbeatEvery)
	defer ticker.Stop()
	before := int64(0) // the server's revision one beat ago
	for {
		rev, err := a.beat(ctx)
		if err != nil && ctx.Err() == nil {
			a.log.Debug("heartbeat was not heard", "error", err)
		}
		if err == nil {
			if before > a.heardOf() {
				a.hear(before) // once for each loss
				a.pullAll()
			}
			before = rev
		}
		wait := ticker.C()
		if err != nil {
			wait = a.clock.After(min(time.Second, a.cfg.HeartbeatEvery))
		}
		select {
		case <-ctx.Done():
			return
		case <-wait:
		}
	}
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

func (a *Agent) beat(ctx context.Context) (revision int64, err error) {
	types := map[string][2]string{
		PartL2: {rpc.AgentL2, rpc.BinaryL2}, PartL3: {rpc.AgentL3, rpc.BinaryL3},
		PartDHCP: {rpc.AgentDHCP, rpc.BinaryDHCP}, PartMetadata: {rpc.AgentMetadata, rpc.BinaryMetadata},
	}
	dp := a.cfg.DataPlane
	var physical []string
	mappings := map[string]any{}
	for _, m := range dp.BridgeMappings {
		physical = append(physical, m.PhysicalNetwork)
		mappings[m.PhysicalNetwork] = m.Bridge
	}
	for _, part := range a.cfg.Parts {
		args := rpc.HeartbeatArgs{
			Host: a.cfg.Host, AgentType: types[part][0], Binary: types[part][1],
			StartedAt: a.startedAt, BridgeMappings: physical, Configurations: map[string]any{},
		}
		if dp.TunnelIP.IsValid() {
			args.TunnelIP = dp.TunnelIP.String()
		}
		if part == PartL2 {
			args.Configurations["bridge_mappings"] = mappings
			args.Configurations["tunnel_types"] = []string{"vxlan"}
			args.Configurations["tunneling_ip"] = args.TunnelIP
		}
		var reply rpc.HeartbeatReply
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		err = a.bus.Call(ctx, bus.Target{Topic: rpc.Topic}, rpc.MethodHeartbeat, args, &reply)
		cancel()
		if err != nil {
			return 0, err
		}
		revision = reply.Revision
	}
	return revision, nil
}
