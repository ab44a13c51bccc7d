package drill

import (
	"context"
	"errors"
	"time"

	"github.com/hastack/hastack/internal/topology"
)

// anyone is the lab's word for every server and the operator.
const anyone = "*"

// delayNote says what the partition suite cannot do.
const delayNote = "frames are lost on one way by the packet filter; delay needs netem, which the kernel of a lab may not have, and is not drilled"

// partitionFaults cut the management network of controllers.
func partitionFaults(t *Target) []*Fault {
	control := t.Topology.With(topology.RoleControl)
	if len(control) == 0 {
		return nil
	}
	last := control[len(control)-1].Name
	fixed := func(context.Context) (string, error) { return last, nil }
	return []*Fault{
		managementCut(t, last+": management cut", fixed),
		managementCut(t, "database writer: management cut", t.writer),
		managementCut(t, "holder of VIP api: management cut", func(ctx context.Context) (string, error) { return t.holderOf(ctx, "api") }),
		loss(t, last+": management deaf (hears nothing)", KindManagement, []drop{{anyone, last, 100}}),
		loss(t, last+": management mute (is not heard)", KindManagement, []drop{{last, anyone, 100}}),
		split(t, control),
		quietly(loss(t, last+": 5 % of its management frames lost", KindPartition, []drop{{anyone, last, 5}, {last, anyone, 5}})),
	}
}

// managementCut pulls the management cables of the server that which names.
func managementCut(t *Target, name string, which func(ctx context.Context) (string, error)) *Fault {
	var server string
	return &Fault{Name: name, Kind: KindManagement, Lab: true, Hold: 8 * time.Second, Settle: 3 * time.Minute,
		Alarms:  alarmsOf(KindManagement),
		Prepare: func(ctx context.Context) (err error) { server, err = which(ctx); return err },
		Inject:  func(ctx context.Context) error { return t.Lab.Cut(ctx, server+"/"+topology.Management) },
		Heal: func(ctx context.Context) error {
			if server == "" {
				return nil
			}
			return t.Lab.Heal(ctx, server+"/"+topology.Management)
		}}
}

// drop is a loss of percent of the frames of the management network.
type drop struct {
	from, to string
	percent  int
}

func loss(t *Target, name, kind string, drops []drop) *Fault {
	return &Fault{Name: name, Kind: kind, Lab: true, Hold: 8 * time.Second, Settle: 3 * time.Minute, Note: delayNote, Alarms: alarmsOf(kind),
		Inject: func(ctx context.Context) error {
			for _, d := range drops {
				if err := t.Lab.Drop(ctx, d.from, d.to, topology.Management, d.percent); err != nil {
					return err
				}
			}
			return nil
		},
		Heal: func(ctx context.Context) error {
			var err error
			for _, d := range drops {
				err = errors.Join(err, t.Lab.Undrop(ctx, d.from, d.to, topology.Management))
			}
			return err
		}}
}

// quietly is a fault that is too small for an alarm.
func quietly(f *Fault) *Fault { f.Alarms = nil; return f }

// split parts the controllers: one on one side, all others on the other. The
// operator reaches both sides, as users do.
func split(t *Target, control []*topology.Server) *Fault {
	var drops []drop
	alone := control[0].Name
	for _, other := range control[1:] {
		drops = append(drops, drop{alone, other.Name, 100}, drop{other.Name, alone, 100})
	}
	return loss(t, "controllers split, "+alone+" | the others", KindPartition, drops)
}
