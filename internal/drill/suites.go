package drill

import (
	"context"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/hastack/hastack/internal/topology"
)

// Faults are the faults of a suite for a cluster, in the order they are run.
// seed decides what is random in them.
func Faults(t *Target, suite string, seed int64) []*Fault {
	rnd := mathrand.New(mathrand.NewPCG(uint64(seed), 2))
	var list []*Fault
	switch suite {
	case SuiteSmoke:
		list = slices.Concat(switchFaults(t), cableFaults(t), serverFaults(t))
	case SuiteProcess:
		list = processFaults(t)
	case SuitePartition:
		list = partitionFaults(t)
	case SuiteState:
		list = stateFaults(t)
	case SuitePower:
		list = powerFaults(t, rnd)
	case SuiteBoot:
		list = bootFaults(t)
	case SuiteUpgrade:
		list = upgradeFaults(t)
	}
	for _, f := range list {
		f.Suite = suite
	}
	return list
}

func switchFaults(t *Target) []*Fault {
	var out []*Fault
	for _, s := range t.Topology.Switches {
		out = append(out, cut(t, s.Name, "switch "+s.Name+" down", KindSwitch))
	}
	return out
}

func cableFaults(t *Target) []*Fault {
	var out []*Fault
	for _, s := range t.Topology.Servers {
		for _, l := range s.Links() {
			out = append(out, cut(t, l.Name(), "cable "+l.Name(), KindCable))
		}
	}
	return out
}

// cut pulls a cable, of a link or of a whole switch.
func cut(t *Target, target, name, kind string) *Fault {
	return &Fault{Name: name, Kind: kind, Lab: true, Hold: 6 * time.Second, Alarms: alarmsOf(kind),
		Inject: func(ctx context.Context) error { return t.Lab.Cut(ctx, target) },
		Heal:   func(ctx context.Context) error { return t.Lab.Heal(ctx, target) }}
}

// serverFaults pull the power cord of each server, of the one that holds each
// VIP and of the one that takes the database's writes.
func serverFaults(t *Target) []*Fault {
	var out []*Fault
	for _, s := range t.Topology.Servers {
		f := powerCord(t, s.Name+" off", serverKind(s), func(context.Context) (string, error) { return s.Name, nil })
		f.Targets = []string{s.Name}
		if !s.Has(topology.RoleControl) && !s.Has(topology.RoleNetwork) && !s.Has(topology.RoleCompute) &&
			!s.Has(topology.RoleLoadBalancer) && !s.Has(topology.RoleAdmin) {
			f.Note = "a bare server: its services do not exist yet"
		}
		out = append(out, f)
	}
	// Where the balancers are control servers, a control server is what is lost.
	kind := KindBalancer
	for _, s := range t.Topology.With(topology.RoleLoadBalancer) {
		kind = serverKind(s)
	}
	for _, v := range t.Topology.VIPs {
		out = append(out, powerCord(t, "holder of VIP "+v.Name+" off", kind,
			func(ctx context.Context) (string, error) { return t.holderOf(ctx, v.Name) }))
	}
	return append(out, powerCord(t, "database writer off", KindWriter, t.writer))
}

// serverKind is the kind of fault that the loss of a server is: of several
// roles the one that costs most.
func serverKind(s *topology.Server) string {
	switch {
	case s.Has(topology.RoleControl):
		return KindControl
	case s.Has(topology.RoleLoadBalancer):
		return KindBalancer
	}
	return KindServer
}

// powerCord takes the power of the server that which names when the time comes.
func powerCord(t *Target, name, kind string, which func(ctx context.Context) (string, error)) *Fault {
	var server string
	return &Fault{Name: name, Kind: kind, Lab: true, Hold: 8 * time.Second, Settle: 3 * time.Minute, Alarms: alarmsOf(kind),
		Prepare: func(ctx context.Context) (err error) { server, err = which(ctx); return err },
		Inject:  func(ctx context.Context) error { return t.Lab.Kill(ctx, server) },
		Heal:    func(ctx context.Context) error { return t.switchOn(ctx, server) }}
}

// switchOn gives a server power and waits until it is up.
func (t *Target) switchOn(ctx context.Context, server string) error {
	if server == "" {
		return nil
	}
	if err := t.Lab.Start(ctx, server); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return t.Lab.WaitSSH(ctx, server)
}

// powerFaults switch everything off at once and on again in a random order,
// with random pauses. Nobody does anything else.
func powerFaults(t *Target, rnd *mathrand.Rand) []*Fault {
	var names []string
	for _, s := range t.Topology.Servers {
		names = append(names, s.Name)
	}
	return []*Fault{{Name: "everything off, back in random order", Kind: KindPower, Lab: true, Blackout: true, Targets: names,
		Hold: 3 * time.Second, Settle: 6 * time.Minute,
		Inject: func(ctx context.Context) error { return t.Lab.PowerOff(ctx) },
		Heal: func(ctx context.Context) error {
			for _, name := range shuffled(rnd, names) {
				if err := t.Lab.Start(ctx, name); err != nil {
					return err
				}
				if err := sleep(ctx, t.Clock, time.Duration(rnd.IntN(3000))*time.Millisecond); err != nil {
					return err
				}
			}
			for _, name := range names {
				if err := t.switchOn(ctx, name); err != nil {
					return err
				}
			}
			return nil
		},
		Note: "the window is from the last server being up; nothing is expected to serve before",
	}}
}

func upgradeFaults(t *Target) []*Fault {
	var out []*Fault
	for _, u := range []struct {
		name string
		do   func(ctx context.Context) error
	}{{"rolling upgrade", t.Upgrade}, {"rollback to the release before", t.Rollback}} {
		if u.do != nil {
			out = append(out, &Fault{Name: u.name, Kind: KindUpgrade, Inject: u.do, Settle: 3 * time.Minute, Once: true})
		}
	}
	return out
}

// anyAlarm wants an alarm, whichever it is.
const anyAlarm = "*"

// alarmsOf are the alarms of which one has to be raised by a fault of the kind.
func alarmsOf(kind string) []string {
	switch kind {
	case KindSwitch:
		return []string{"SwitchDown", "BondLegDown", "LinkDown"}
	case KindCable:
		return []string{"BondLegDown", "LinkDown"}
	case KindControl, KindBalancer, KindWriter, KindServer:
		return []string{"ServerDown"}
	case KindManagement, KindPartition:
		return []string{"ServerDown", "LinkDown", "PeerUnreachable", "PeerOneWay"}
	case KindProcess:
		return []string{"UnitDown", "UnitRestarted"}
	case KindFreeze, KindState:
		return []string{anyAlarm}
	}
	return nil
}

// SomeCables keeps n of the cables among the faults, chosen by the seed, and
// everything else.
func SomeCables(list []*Fault, n int, seed int64) []*Fault {
	var names []string
	for _, f := range list {
		if f.Kind == KindCable {
			names = append(names, f.Name)
		}
	}
	kept := shuffled(mathrand.New(mathrand.NewPCG(uint64(seed), 3)), names)
	kept = kept[:min(n, len(kept))]
	return slices.DeleteFunc(slices.Clone(list), func(f *Fault) bool { return f.Kind == KindCable && !slices.Contains(kept, f.Name) })
}
