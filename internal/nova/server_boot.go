package nova

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/scheduler"
	"github.com/hastack/hastack/internal/operation"
)

// This file is the conductor's part of a boot: choose a host (steps 8 to 11),
// tell it (12), wait for what it reports, try another host if it could not.
// The host's part is in package compute; what it reports ends up in Finish.

// bootTries is what a boot remembers of the hosts it was on.
type bootTries struct {
	Failed []string `json:"failed"`
	Last   *Fault   `json:"last,omitempty"`
}

func loadTries(op *operation.Op) (*bootTries, error) {
	t := &bootTries{}
	_, err := op.Load("tries", t)
	return t, err
}

// bootSchedule gives the server a host. It finds its own work after a crash:
// a server with a host is scheduled.
func (s *Service) bootSchedule(ctx context.Context, op *operation.Op) error {
	srv, err := s.anyServer(ctx, op.ResourceID)
	if err != nil {
		return err
	}
	if srv.OpID != op.ID || srv.Host != "" {
		return nil
	}
	return s.stepFailed(ctx, op, srv, s.place(ctx, op, srv))
}

// place asks a scheduler for a claimed host and records it. When another member
// of an anti-affinity group took the host in between, it asks again.
func (s *Service) place(ctx context.Context, op *operation.Op, srv *Server) error {
	tries, err := loadTries(op)
	if err != nil {
		return err
	}
	args := SelectArgs{ServerID: srv.ID, OpID: op.ID, Exclude: tries.Failed}
	for {
		reply, steps, err := s.callScheduler(ctx, args)
		if err != nil {
			return err
		}
		if reply.Host == "" {
			return s.noValidHost(ctx, op, srv, tries, reply, steps)
		}
		placed, err := s.recordHost(ctx, op, srv, reply, steps)
		if err != nil {
			return err
		}
		if placed {
			srv.Host = reply.Host
			return recordedSteps(ctx, 8, 11)
		}
		if err := s.unclaim(ctx, srv.ID); err != nil {
			return err
		}
		args.Exclude = append(args.Exclude, reply.Host)
	}
}

// callScheduler is step 8, with steps 9 to 11 in the reply.
func (s *Service) callScheduler(ctx context.Context, args SelectArgs) (*SelectReply, []rpc.Step, error) {
	start := s.clock.Now()
	if err := BootPoint(ctx, 8, BeforeEffect); err != nil {
		return nil, nil, err
	}
	reply := new(SelectReply)
	err := s.bus.Call(ctx, bus.Target{Topic: TopicScheduler}, methodSelect, args, reply)
	if err != nil {
		return nil, nil, atStep(8, err)
	}
	for _, n := range []int{8, 11} {
		if err := BootPoint(ctx, n, AfterEffect); err != nil {
			return nil, nil, err
		}
	}
	now := s.clock.Now()
	outcome := rpc.OutcomeOK
	if reply.Host == "" {
		outcome = rpc.OutcomeError
	}
	steps := append([]rpc.Step{{N: 8, Name: "ask for a host", Actor: "nova-conductor", Peer: "nova-scheduler", Protocol: rpc.ProtoAMQP,
		Start: start, Duration: now.Sub(start), Outcome: rpc.OutcomeOK}}, reply.Steps...)
	last := start
	if n := len(reply.Steps); n > 0 {
		last = reply.Steps[n-1].Start.Add(reply.Steps[n-1].Duration)
	}
	steps = append(steps, rpc.Step{N: 11, Name: "return the host", Actor: "nova-scheduler", Peer: "nova-conductor", Protocol: rpc.ProtoAMQP,
		Start: last, Duration: max(now.Sub(last), 0), Outcome: outcome, Detail: reply.Explanation.Text()})
	return reply, steps, nil
}

// noValidHost ends a boot that found no host, and says why.
func (s *Service) noValidHost(ctx context.Context, op *operation.Op, srv *Server, tries *bootTries, reply *SelectReply, steps []rpc.Step) error {
	f := &Fault{Code: 500, Created: s.clock.Now(), Details: "nearest: " + reply.Explanation.NearestHost}
	f.Message = "No valid host was found. " + reply.Explanation.Text()
	if tries.Last != nil {
		f.Message = fmt.Sprintf("Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for instance %s. Last: %s", srv.ID, tries.Last.Message)
		f.Details = tries.Last.Details
	}
	if err := s.bootError(ctx, op, srv, f, steps, "conductor_schedule_and_build_instances", ""); err != nil {
		return err
	}
	return fault.New(fault.Conflict, "%s", f.Message)
}

// bootUnschedule gives back what a boot without a host holds. A server that
// has a host keeps everything: only that host knows what of it exists, and
// the deletion will ask it.
func (s *Service) bootUnschedule(ctx context.Context, op *operation.Op) error {
	srv, err := s.anyServer(ctx, op.ResourceID)
	if err != nil {
		return err
	}
	if srv.OpID != op.ID || srv.Host != "" {
		return nil
	}
	if err := s.releasePorts(ctx, srv.ID, srv.userPorts()); err != nil {
		return err
	}
	return s.unclaim(ctx, srv.ID)
}

// userPorts are the ports of a server that its user made.
func (s *Server) userPorts() map[string]bool {
	m := map[string]bool{}
	for _, n := range s.Spec.Networks {
		if n.PortID != "" {
			m[n.PortID] = true
		}
	}
	for _, v := range s.InfoCache {
		if v.Preserve {
			m[v.PortID] = true
		}
	}
	return m
}

// bootBuild tells the host to build and waits for its Finish. A host that
// failed, or went down, is left for another.
func (s *Service) bootBuild(ctx context.Context, op *operation.Op) error {
	srv, err := s.anyServer(ctx, op.ResourceID)
	if err != nil {
		return err
	}
	if srv.OpID != op.ID {
		return nil // ACTIVE, or being deleted
	}
	if srv.Host == "" { // the process died between leaving a host and finding the next
		if err := s.place(ctx, op, srv); err != nil {
			return s.stepFailed(ctx, op, srv, err)
		}
	}
	if srv.Outcome != nil {
		if err := s.bootElsewhere(ctx, op, srv, &srv.Outcome.Fault); err != nil {
			return err
		}
	} else if err := s.bootFromDownHost(ctx, op, srv); err != nil {
		return err
	}
	return s.stepFailed(ctx, op, srv, s.castBuild(ctx, op, srv))
}

// bootFromDownHost leaves a host that was told and is down, however far it
// came: the server has never been ACTIVE, so nobody has anything on it. When
// the host comes back it finds the operation elsewhere, and clears what it made.
func (s *Service) bootFromDownHost(ctx context.Context, op *operation.Op, srv *Server) error {
	var sent time.Time
	if told, err := op.Load("cast."+srv.Host, &sent); err != nil || !told {
		return err
	}
	svc, err := s.computeService(ctx, srv.Host)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if err == nil && svc.Up {
		return nil
	}
	return s.bootElsewhere(ctx, op, srv, &Fault{Code: 500, Message: "the compute service of the chosen host went down", Created: s.clock.Now()})
}

// castBuild is step 12.
func (s *Service) castBuild(ctx context.Context, op *operation.Op, srv *Server) error {
	if err := BootPoint(ctx, 12, BeforeEffect); err != nil {
		return err
	}
	err := s.castOrWait(ctx, op, srv.Host, rpc.MethodBuild, rpc.ServerOp{OpID: op.ID, ServerID: srv.ID})
	for _, moment := range []string{AfterEffect, AfterRecord} {
		if fp := BootPoint(ctx, 12, moment); fp != nil {
			return fp
		}
	}
	return err
}

// bootElsewhere leaves a host that failed and finds another, or ends the boot
// when that is hopeless: the request itself is wrong (4xx), or too many hosts
// have failed.
func (s *Service) bootElsewhere(ctx context.Context, op *operation.Op, srv *Server, f *Fault) error {
	tries, err := loadTries(op)
	if err != nil {
		return err
	}
	host := srv.Host
	tries.Last = f
	if !slices.Contains(tries.Failed, host) { // or a crash made us come here again
		tries.Failed = append(tries.Failed, host)
	}
	if err := op.Save("tries", tries); err != nil {
		return err
	}
	if f.Code >= 400 && f.Code < 500 || len(tries.Failed) >= s.cfg.BuildAttempts {
		if err := s.bootError(ctx, op, srv, f, nil, eventOf(kindBoot), host); err != nil {
			return err
		}
		return (&Outcome{Fault: *f}).err()
	}
	if err := op.Checkpoint(ctx); err != nil {
		return err
	}
	left, err := s.leaveHost(ctx, op.ID, srv)
	if err != nil || !left {
		return err
	}
	if err := s.unclaim(ctx, srv.ID); err != nil {
		return err
	}
	srv.Outcome = nil
	return s.place(ctx, op, srv)
}

// err is a host's failure as the operation's own: never one that is retried.
func (o *Outcome) err() error {
	kind := fault.KindOfStatus(o.Fault.Code)
	if kind == fault.Unavailable || kind == fault.Timeout {
		kind = fault.Internal
	}
	return fault.New(kind, "%s", o.Fault.Message)
}

// stepMessage puts the number of the step that failed before a host's message.
// Of several it is the one that ended first: it stopped the others.
func stepMessage(in *rpc.FinishArgs) string {
	var first *rpc.Step
	for i := range in.Steps {
		st := &in.Steps[i]
		if st.Outcome == rpc.OutcomeError && st.N > 0 && (first == nil || st.Start.Add(st.Duration).Before(first.Start.Add(first.Duration))) {
			first = st
		}
	}
	if first == nil {
		return in.Result.Fault.Message
	}
	return fmt.Sprintf("step %d (%s): %s", first.N, first.Name, in.Result.Fault.Message)
}

// castStep is step 12 as the host's first call finds it: sent and taken.
func castStep(srv *Server, sent time.Time) rpc.Step {
	return rpc.Step{N: 12, Name: "cast the build", Actor: "nova-conductor", Peer: "nova-compute@" + srv.Host,
		Protocol: rpc.ProtoAMQP, Start: sent, Outcome: rpc.OutcomeOK}
}

// groupTaken tells whether a host may not take one more member of the group.
func groupTaken(g *ServerGroup, onHost, elsewhere int) bool {
	switch g.Policy {
	case scheduler.AntiAffinity:
		return onHost >= max(g.MaxPerHost, 1)
	case scheduler.Affinity:
		return elsewhere > 0
	}
	return false
}
