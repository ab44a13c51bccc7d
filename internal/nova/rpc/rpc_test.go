package rpc

import (
	"context"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/fault"
)

// recorder answers every method and keeps what it was called with.
type recorder struct {
	Compute
	Conductor
	calls chan any
}

// serve starts both servers on a bus and returns it.
func serve(t *testing.T, comp Compute, cond Conductor) bus.Bus {
	t.Helper()
	b := bus.NewMemory(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = b.Close() })
	m := bus.NewMux()
	if comp != nil {
		RegisterCompute(m, comp)
		if _, err := b.Serve(t.Context(), TopicCompute, "h1", m.Handle); err != nil {
			t.Fatal(err)
		}
	}
	m = bus.NewMux()
	if cond != nil {
		RegisterConductor(m, cond)
		if _, err := b.Serve(t.Context(), TopicConductor, "c1", m.Handle); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (r recorder) Build(_ context.Context, in ServerOp) error        { r.calls <- in; return nil }
func (r recorder) Reboot(_ context.Context, in RebootArgs) error     { r.calls <- in; return nil }
func (r recorder) Snapshot(_ context.Context, in SnapshotArgs) error { r.calls <- in; return nil }
func (r recorder) AttachInterface(_ context.Context, in AttachInterfaceArgs) (*VIF, error) {
	r.calls <- in
	return &VIF{PortID: "p", Preserve: true}, nil
}

func (r recorder) VNCConsole(context.Context, ServerArgs) (*VNCReply, error) {
	return nil, fault.New(fault.Conflict, "server does not run")
}

func (r recorder) ServerInfo(_ context.Context, in ServerInfoArgs) (*ServerSpec, error) {
	r.calls <- in
	return &ServerSpec{ID: in.ServerID, UserData: []byte{0, 255}, Requested: []RequestedNetwork{{Tag: "t"}}}, nil
}

func (r recorder) Finish(_ context.Context, in FinishArgs) error { r.calls <- in; return nil }

func (r recorder) Report(context.Context, ReportArgs) error {
	return fault.New(fault.Conflict, "operation is over")
}

func (r recorder) ReportHost(_ context.Context, in HostReport) error { r.calls <- in; return nil }

func TestMessagesArriveAsTheyWereSent(t *testing.T) {
	r := recorder{calls: make(chan any, 1)}
	b := serve(t, r, r)
	op := ServerOp{OpID: "o", ServerID: "s"}
	comp, cond := NewComputeClient(b, "h1"), NewConductorClient(b)
	now := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	for name, tc := range map[string]struct {
		want any
		send func() error
	}{
		"build":    {op, func() error { return comp.Build(t.Context(), op) }},
		"reboot":   {RebootArgs{op, "SOFT"}, func() error { return comp.Reboot(t.Context(), RebootArgs{op, "SOFT"}) }},
		"snapshot": {SnapshotArgs{op, "i"}, func() error { return comp.Snapshot(t.Context(), SnapshotArgs{op, "i"}) }},
		"attach": {AttachInterfaceArgs{op, RequestedNetwork{PortID: "p"}}, func() error {
			v, err := comp.AttachInterface(t.Context(), AttachInterfaceArgs{op, RequestedNetwork{PortID: "p"}})
			if err == nil && (v.PortID != "p" || !v.Preserve) {
				t.Errorf("attach answered %+v", v)
			}
			return err
		}},
		"server info": {ServerInfoArgs{ServerID: "s", OpID: "o", TaskState: "networking"}, func() error {
			s, err := cond.ServerInfo(t.Context(), ServerInfoArgs{ServerID: "s", OpID: "o", TaskState: "networking"})
			if err == nil && (s.ID != "s" || len(s.UserData) != 2 || s.Requested[0].Tag != "t") {
				t.Errorf("server info answered %+v", s)
			}
			return err
		}},
		"finish": {FinishArgs{OpID: "o", Steps: []Step{{N: 28, Start: now, Duration: time.Second}}, Result: Result{Networks: []VIF{}}}, func() error {
			return cond.Finish(t.Context(), FinishArgs{OpID: "o", Steps: []Step{{N: 28, Start: now, Duration: time.Second}}, Result: Result{Networks: []VIF{}}})
		}},
		"heartbeat": {HostReport{Host: "h1", StartedAt: now}, func() error {
			return cond.ReportHost(t.Context(), HostReport{Host: "h1", StartedAt: now})
		}},
	} {
		if err := tc.send(); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		select {
		case got := <-r.calls:
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s did not arrive", name)
		}
	}
}

func TestFaultsCrossTheBus(t *testing.T) {
	r := recorder{calls: make(chan any, 1)}
	b := serve(t, r, r)
	if err := NewConductorClient(b).Report(t.Context(), ReportArgs{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("report: %v", err)
	}
	if _, err := NewComputeClient(b, "h1").VNCConsole(t.Context(), ServerArgs{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("vnc: %v", err)
	}
}

// A result without networks keeps the cached ones, an empty list removes them:
// the difference must survive the wire.
func TestNoNetworksIsNotEmptyNetworks(t *testing.T) {
	r := recorder{calls: make(chan any, 1)}
	cond := NewConductorClient(serve(t, nil, r))
	for _, want := range [][]VIF{nil, {}} {
		if err := cond.Finish(t.Context(), FinishArgs{Result: Result{Networks: want}}); err != nil {
			t.Fatal(err)
		}
		if got := (<-r.calls).(FinishArgs).Result.Networks; (got == nil) != (want == nil) {
			t.Errorf("sent %#v, got %#v", want, got)
		}
	}
}
