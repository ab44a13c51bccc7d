package fake

import (
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
	"github.com/hastack/hastack/internal/nova/virt/virttest"
)

func TestFakeKeepsTheDriverContract(t *testing.T) {
	virttest.Run(t, virttest.Setup{Open: func(_ *testing.T, dir string) virt.Driver {
		return New(Config{Dir: filepath.Join(dir, "servers")})
	}})
}

func TestDelayAndFaultHappenWhereAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		d := New(Config{Delay: map[string]time.Duration{"Define": time.Hour},
			Fault: func(method, _ string) error {
				if method == "Start" {
					return boom
				}
				return nil
			}})
		begin := time.Now()
		if err := d.Define(t.Context(), &virt.Server{ID: "a"}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != time.Hour {
			t.Errorf("define took %v", took)
		}
		if err := d.Start(t.Context(), "a"); !errors.Is(err, boom) {
			t.Errorf("start: %v", err)
		}
		if in, _ := d.Info(t.Context(), "a"); in.PowerState != rpc.PowerShutdown {
			t.Errorf("state %d after a refused start", in.PowerState)
		}
	})
}

func TestCrashIsAnEvent(t *testing.T) {
	d := New(Config{})
	if err := d.Define(t.Context(), &virt.Server{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := d.Crash("a"); err != nil {
		t.Fatal(err)
	}
	e := <-d.Events()
	if e.ServerID != "a" || e.PowerState != rpc.PowerCrashed {
		t.Errorf("event %+v", e)
	}
}
