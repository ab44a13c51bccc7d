package nova_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db/dbtest"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/operation"
)

func TestHeartbeatsOfManyHostsAreOneWrite(t *testing.T) {
	d := dbtest.New(t, nova.Migrations, operation.Migrations)
	fake := clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	log := nova.DiscardLog()
	b := bus.NewMemory(log)
	defer b.Close()
	svc, err := nova.New(nova.Config{}, nova.Deps{DB: d, Bus: b, Clock: fake, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	c := nova.NewConductor(svc, "control")
	for i := range 50 {
		r := rpc.HostReport{Host: fmt.Sprintf("h%d", i), Resources: &rpc.HostResources{ProviderID: fmt.Sprintf("p%d", i), Hostname: fmt.Sprintf("h%d", i)}}
		if err := c.ReportHost(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	fake.Advance(2 * time.Minute)
	if n := upHosts(t, svc); n != 0 {
		t.Errorf("%d hosts are up after two silent minutes", n)
	}
	before := d.Stats()
	for i := range 50 {
		if err := c.ReportHost(ctx, rpc.HostReport{Host: fmt.Sprintf("h%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := svc.FlushBeats(ctx); err != nil {
		t.Fatal(err)
	}
	if got := d.Stats().Commits - before.Commits; got != 1 {
		t.Errorf("50 heartbeats cost %d commits", got)
	}
	if n := upHosts(t, svc); n != 50 {
		t.Errorf("%d hosts are up after their heartbeat", n)
	}
}

func upHosts(t *testing.T, svc *nova.Service) (n int) {
	t.Helper()
	list, err := svc.HostServices(context.Background(), "", nova.BinaryCompute)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.Up {
			n++
		}
	}
	return n
}
