package nova

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/scheduler"
)

// TopicScheduler is the topic on which every nova-scheduler listens.
const TopicScheduler = "scheduler"

const methodSelect = "select"

// candidateLimit is how many hosts with room are looked at first. Only when
// the filters leave none of them, all are.
const candidateLimit = 200

// SelectArgs asks for a host for a server on behalf of its boot. Exclude are
// hosts it was on already.
type SelectArgs struct {
	ServerID string   `json:"server_id"`
	OpID     string   `json:"op_id"`
	Exclude  []string `json:"exclude,omitempty"`
}

// SelectReply is the host on which the server's resources are claimed. Host ""
// means that there is none; Explanation says why.
type SelectReply struct {
	Host        string                `json:"host"`
	Node        string                `json:"node"`
	Zone        string                `json:"zone"`
	Steps       []rpc.Step            `json:"steps"` // 9 and 10
	Explanation scheduler.Explanation `json:"explanation"`
}

// Scheduler is nova-scheduler: it answers Select on the bus. Any number may run;
// claims in Placement keep them from giving one room twice.
type Scheduler struct {
	nova *Service
	host string
}

// NewScheduler makes a scheduler for the machine of that name.
func NewScheduler(s *Service, host string) *Scheduler { return &Scheduler{s, host} }

// Run serves until ctx ends.
func (sc *Scheduler) Run(ctx context.Context) error {
	m := bus.NewMux()
	bus.On(m, methodSelect, sc.nova.selectHost)
	stop, err := sc.nova.bus.Serve(ctx, TopicScheduler, sc.host, m.Handle)
	if err != nil {
		return err
	}
	defer stop()
	return sc.nova.beat(ctx, sc.host, BinaryScheduler)
}

// beatEvery is how often a service without a hypervisor says that it runs.
const beatEvery = 20 * time.Second

// beat keeps a service's row in os-services fresh until ctx ends.
func (s *Service) beat(ctx context.Context, host, binary string) error {
	t := s.clock.NewTicker(beatEvery)
	defer t.Stop()
	for {
		if err := s.ensureService(ctx, host, binary); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "report service", "binary", binary, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
		}
	}
}

// selectHost is steps 9 and 10 of a boot: candidates from Placement, filters,
// weighers, and the claim on the best host that still has room.
func (s *Service) selectHost(ctx context.Context, in SelectArgs) (*SelectReply, error) {
	taken := s.clock.Now()
	if err := BootPoint(ctx, 9, BeforeEffect); err != nil {
		return nil, err
	}
	srv, err := s.anyServer(ctx, in.ServerID)
	if err != nil {
		return nil, err
	}
	if srv.OpID != in.OpID || srv.Host != "" {
		return nil, bootWentOn(srv.ID)
	}
	picked := s.clock.Now()
	if err := BootPoint(ctx, 9, AfterEffect); err != nil {
		return nil, err
	}
	if err := BootPoint(ctx, 10, BeforeEffect); err != nil {
		return nil, err
	}
	reply, err := s.pick(ctx, srv, in.Exclude, candidateLimit)
	if err == nil && reply.Host == "" && reply.Explanation.Candidates >= candidateLimit {
		reply, err = s.pick(ctx, srv, in.Exclude, 0)
	}
	if err != nil {
		return nil, atStep(10, errors.Join(err, s.settleClaim(ctx, in, "")))
	}
	if reply.Host != "" {
		if err := s.settleClaim(ctx, in, reply.Host); err != nil {
			return nil, atStep(10, err)
		}
	}
	if err := BootPoint(ctx, 10, AfterEffect); err != nil {
		return nil, err
	}
	now := s.clock.Now()
	outcome, detail := rpc.OutcomeOK, fmt.Sprintf("%d candidates", reply.Explanation.Candidates)
	if reply.Host == "" {
		outcome, detail = rpc.OutcomeError, reply.Explanation.Text()
	}
	reply.Steps = []rpc.Step{
		{N: 9, Name: "take the request", Actor: "nova-scheduler", Peer: "nova-conductor", Protocol: rpc.ProtoAMQP,
			Start: taken, Duration: picked.Sub(taken), Outcome: rpc.OutcomeOK},
		{N: 10, Name: "pick and claim a host", Actor: "nova-scheduler", Peer: "nova database, placement", Protocol: rpc.ProtoSQL,
			Start: picked, Duration: now.Sub(picked), Outcome: outcome, Detail: detail},
	}
	return reply, BootPoint(ctx, 11, BeforeEffect)
}

func (s *Service) pick(ctx context.Context, srv *Server, exclude []string, limit int) (*SelectReply, error) {
	resources := resourcesOf(&srv.Flavor)
	found, err := s.candidates(ctx, resources, traitsOf(&srv.Flavor, srv.Spec.Image.Properties), limit)
	if err != nil {
		return nil, err
	}
	reply := &SelectReply{}
	if len(found) == 0 {
		reply.Explanation.NearestMiss = s.whyNoRoom(ctx, resources)
		return reply, nil
	}
	hosts, err := s.hostStates(ctx, found, srv.GroupID, srv.ID)
	if err != nil {
		return nil, err
	}
	req, err := s.scheduleRequest(ctx, srv, exclude)
	if err != nil {
		return nil, err
	}
	chosen, why := scheduler.Select(hosts, req)
	reply.Explanation = why
	for _, h := range chosen {
		ok, err := s.claim(ctx, srv, h.ProviderID)
		if err != nil {
			return nil, err
		}
		if ok {
			reply.Host, reply.Node, reply.Zone = h.Name, h.Hypervisor, h.Zone
			return reply, nil
		}
	}
	if len(chosen) > 0 {
		reply.Explanation.Filters = append(reply.Explanation.Filters, scheduler.Removal{Filter: "Claim", Removed: len(chosen),
			Reason: "others claimed the room first"})
		reply.Explanation.NearestMiss = "Claim: others claimed the room first"
	}
	return reply, nil
}

func bootWentOn(id string) error {
	return fault.New(fault.Unavailable, "The boot of instance %s went on without this request.", id)
}

// settleTimeout bounds the look back after a claim, whose caller may be gone.
const settleTimeout = 10 * time.Second

// settleClaim looks at the server once more after a claim on host, or one that
// may have been made before it failed (host ""). A scheduler that was
// frozen in the middle wakes up to a boot that went on without it, and would
// leave room taken for a server that is gone, or is on another host. Who takes
// the server over before this look finds its claim undone here; who does so
// after it undoes the claim itself.
func (s *Service) settleClaim(ctx context.Context, in SelectArgs, host string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	srv, err := s.anyServer(ctx, in.ServerID)
	if err != nil {
		return err
	}
	gone := srv.VMState == Deleted || srv.TaskState == TaskDeleting
	switch {
	case !gone && srv.Host == "" && srv.OpID == in.OpID, !gone && srv.Host == host && host != "":
		return nil
	case gone || srv.Host == "":
		err = s.unclaim(ctx, srv.ID)
	default:
		err = s.claimAgain(ctx, srv)
	}
	if err != nil {
		return fmt.Errorf("undo a late claim: %w", err)
	}
	s.log.WarnContext(ctx, "late claim undone", "server_id", srv.ID, "host", host)
	return bootWentOn(srv.ID)
}

// scheduleRequest is the server as the filters see it.
func (s *Service) scheduleRequest(ctx context.Context, srv *Server, exclude []string) (*scheduler.Request, error) {
	f := srv.Flavor
	r := &scheduler.Request{ServerID: srv.ID, VCPUs: f.VCPUs, MemoryMB: f.MemoryMB, DiskGB: f.RootGB,
		ExtraSpecs: f.ExtraSpecs, ImageProps: srv.Spec.Image.Properties, Zone: srv.Spec.Zone,
		ForceHost: srv.Spec.ForceHost, ForceNode: srv.Spec.ForceNode, Exclude: map[string]bool{}}
	for _, h := range exclude {
		r.Exclude[h] = true
	}
	var err error
	if ids := srv.Spec.Hints["same_host"]; len(ids) > 0 {
		if r.SameHosts, err = s.hostsOf(ctx, srv.ProjectID, ids); err != nil {
			return nil, err
		}
	}
	if ids := srv.Spec.Hints["different_host"]; len(ids) > 0 {
		if r.DifferentHosts, err = s.hostsOf(ctx, srv.ProjectID, ids); err != nil {
			return nil, err
		}
	}
	if srv.GroupID == "" {
		return r, nil
	}
	g, err := s.ServerGroup(ctx, srv.GroupID)
	if fault.Is(err, fault.NotFound) {
		return r, nil // deleted meanwhile: it binds nobody
	}
	if err != nil {
		return nil, err
	}
	r.GroupPolicy, r.MaxPerHost = g.Policy, g.MaxPerHost
	members, err := s.groupHosts(ctx, srv.GroupID, srv.ID)
	for _, n := range members {
		r.GroupSize += n
	}
	return r, err
}

// whyNoRoom looks for the host that comes nearest when none has room, without
// telling whose the room is.
func (s *Service) whyNoRoom(ctx context.Context, resources map[string]int) string {
	want := describe(resources)
	found, err := s.candidates(ctx, map[string]int{"VCPU": 1}, nil, 0)
	if err != nil || len(found) == 0 {
		return fmt.Sprintf("Placement: no host has %s free; none has a free VCPU", want)
	}
	best, missing := "", len(resources)+1
	for _, id := range slices.Sorted(maps.Keys(found)) {
		p := found[id]
		var lacks []string
		for _, class := range slices.Sorted(maps.Keys(resources)) {
			if free := p.free(class); free < resources[class] {
				lacks = append(lacks, fmt.Sprintf("%s %d of %d", class, max(free, 0), resources[class]))
			}
		}
		if len(lacks) < missing {
			best, missing = strings.Join(lacks, ", "), len(lacks)
		}
	}
	if best == "" {
		return fmt.Sprintf("Placement: no host has %s free in one request, or has the wanted traits", want)
	}
	return fmt.Sprintf("Placement: no host has %s free; the nearest of %d has %s", want, len(found), best)
}

func describe(resources map[string]int) string {
	var parts []string
	for _, class := range slices.Sorted(maps.Keys(resources)) {
		parts = append(parts, fmt.Sprintf("%s %d", class, resources[class]))
	}
	return strings.Join(parts, ", ")
}
