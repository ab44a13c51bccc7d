package nova_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db/dbtest"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/operation"
)

// Those who ask at once for the first of their kind all count on one counter:
// nobody is refused below the limit, nobody passes it, and a refusal says quota.
func TestFirstPlacesOfAQuota(t *testing.T) {
	svc := quotaService(t)
	for user := range 10 {
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				kp := &nova.Keypair{UserID: fmt.Sprint("user", user), Name: fmt.Sprint("key", i), Type: "ssh"}
				_, errs[i] = svc.CreateKeypair(t.Context(), kp, false)
			})
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			switch {
			case err == nil:
				made++
			case !fault.Is(err, fault.Forbidden):
				t.Errorf("refused otherwise: %v", err)
			}
		}
		if made != 5 {
			t.Errorf("user %d: %d key pairs with a quota of 5", user, made)
		}
	}
}

// quotaService is a service whose users may have five key pairs.
func quotaService(t *testing.T) *nova.Service {
	t.Helper()
	log := nova.DiscardLog()
	b := bus.NewMemory(log)
	t.Cleanup(func() { _ = b.Close() })
	svc, err := nova.New(nova.Config{Quota: map[string]int64{nova.ResourceKeyPairs: 5, nova.ResourceCores: 10}},
		nova.Deps{DB: dbtest.New(t, nova.Migrations, operation.Migrations), Bus: b, Clock: clock.System, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

// Limits that are set at the same moment for the first time: nobody is refused,
// and one of them holds.
func TestLimitsSetAtOnce(t *testing.T) {
	svc := quotaService(t)
	for round := range 10 {
		project := fmt.Sprint("project", round)
		limits := func(i int) map[string]int64 {
			return map[string]int64{nova.ResourceKeyPairs: int64(100 + i), nova.ResourceCores: int64(200 + i)}
		}
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				if err := svc.SetQuotas(t.Context(), project, "", limits(i), true); err != nil {
					t.Errorf("set limits: %v", err)
				}
				if err := svc.SetQuotaClass(t.Context(), project, limits(i)); err != nil {
					t.Errorf("set a class: %v", err)
				}
			})
		}
		wg.Wait()
		q, err := svc.Quotas(t.Context(), project, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := q.Limits[nova.ResourceKeyPairs]; got < 100 || got > 105 || q.Limits[nova.ResourceCores] != got+100 {
			t.Errorf("limits %+v are of no single request", q.Limits)
		}
	}
}
