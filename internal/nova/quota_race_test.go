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
	log := nova.DiscardLog()
	b := bus.NewMemory(log)
	defer b.Close()
	svc, err := nova.New(nova.Config{Quota: map[string]int64{nova.ResourceKeyPairs: 5}},
		nova.Deps{DB: dbtest.New(t, nova.Migrations, operation.Migrations), Bus: b, Clock: clock.System, Log: log})
	if err != nil {
		t.Fatal(err)
	}
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
