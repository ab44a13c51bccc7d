package agent

import (
	"context"
	"slices"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// beatTimeout bounds one heartbeat: a lost one is sent again, a late one is of
// no use.
const beatTimeout = 3 * time.Second

// heartbeats tells the server that the parts live, and pulls everything when
// the answer shows that a notification was lost. The L3 part has a beat of its
// own: how soon its routers are taken over hangs on it.
func (a *Agent) heartbeats(ctx context.Context) {
	every := a.cfg.HeartbeatEvery
	if a.runs(PartL3) {
		every = min(every, a.cfg.L3HeartbeatEvery)
	}
	ticker := a.clock.NewTicker(every)
	defer ticker.Stop()
	before := int64(0) // the server's revision one beat ago
	var last time.Time // when all parts were told of
	for {
		parts, all := a.due(last, every)
		rev, err := a.beat(ctx, parts)
		if err != nil && ctx.Err() == nil {
			a.log.Debug("heartbeat was not heard", "error", err)
		}
		if err == nil {
			if all {
				last = a.clock.Now()
			}
			if before > a.heardOf() {
				a.hear(before) // once for each loss
				a.pullAll()
			}
			before = rev
		}
		wait := ticker.C()
		if err != nil {
			wait = a.clock.After(min(time.Second, every))
		}
		select {
		case <-ctx.Done():
			return
		case <-wait:
		}
	}
}

// due are the parts to tell of now, when all were last told of at last and a
// beat comes every so often. Only a host with routers has beats between.
func (a *Agent) due(last time.Time, every time.Duration) (parts []string, all bool) {
	if a.runs(PartL3) && a.clock.Now().Sub(last) < a.cfg.HeartbeatEvery-every/2 {
		return []string{PartL3}, false
	}
	return a.cfg.Parts, true
}

// beat tells of the parts; the L3 part is first, because it is urgent.
func (a *Agent) beat(ctx context.Context, parts []string) (revision int64, err error) {
	for _, part := range [...]string{PartL3, PartL2, PartDHCP, PartMetadata} {
		if !slices.Contains(parts, part) {
			continue
		}
		var reply rpc.HeartbeatReply
		ctx, cancel := context.WithTimeout(ctx, beatTimeout)
		err = a.bus.Call(ctx, bus.Target{Topic: rpc.Topic}, rpc.MethodHeartbeat, a.heartbeat(part), &reply)
		cancel()
		if err != nil {
			return 0, err
		}
		a.lastBeat.Store(a.clock.Now().UnixNano())
		revision = reply.Revision
	}
	return revision, nil
}

// heartbeat is what is said of one part.
func (a *Agent) heartbeat(part string) rpc.HeartbeatArgs {
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
	return args
}
