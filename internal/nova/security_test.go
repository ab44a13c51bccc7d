package nova_test

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/nova/novatest"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt/fake"
)

func TestSec36BooleansTakeOnlyBooleans(t *testing.T) {
	c := novatest.New(t)
	flavor := c.Flavor("small")
	for _, v := range []any{2, -1, []string{}, M{}, "FALSEHOOD", nil, 0.5} {
		body := M{"server": M{"name": "vm", "imageRef": c.Image, "flavorRef": flavor, "networks": "none", "config_drive": v}}
		c.Must(400, 93, "member", "POST", "/servers", body)
	}
	for value, want := range map[any]string{"FALSE": "", "true": "True", false: "", true: "True", "0": "", 0: "", 1: "True"} {
		body := M{"server": M{"name": "vm", "imageRef": c.Image, "flavorRef": flavor, "networks": "none", "config_drive": value}}
		id := c.Must(202, 93, "member", "POST", "/servers", body).Text("server", "id")
		if got := c.Must(200, 93, "member", "GET", "/servers/"+id, nil).Text("server", "config_drive"); got != want {
			t.Errorf("config_drive %v became %q, want %q", value, got, want)
		}
	}
}

func TestSec38ConsoleTokenDiesWithItsServer(t *testing.T) {
	c := novatest.New(t)
	id := c.Boot(c.Flavor("small"), nil)
	r := c.Must(200, 93, "member", "POST", "/servers/"+id+"/remote-consoles", M{"remote_console": M{"protocol": "vnc", "type": "novnc"}})
	u, err := url.Parse(r.Text("remote_console", "url"))
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ := strings.Cut(u.Query().Get("path"), "token=")
	conductor := nova.NewConductor(c.Nova, "test")
	target, err := conductor.ConsoleTarget(context.Background(), rpc.ConsoleTargetArgs{Token: token})
	if err != nil || target.ServerID != id || target.Host != "host1" {
		t.Fatalf("target %+v, %v", target, err)
	}
	var kept int
	if err := c.DB.NewRaw("SELECT COUNT(*) FROM console_tokens WHERE token_hash = ?", token).Scan(context.Background(), &kept); err != nil || kept != 0 {
		t.Errorf("the token itself is in the database: %d, %v", kept, err)
	}
	if _, err := conductor.ConsoleTarget(context.Background(), rpc.ConsoleTargetArgs{Token: token[1:]}); !fault.Is(err, fault.NotFound) {
		t.Errorf("a part of the token: %v", err)
	}
	remove(t, c, id)
	if _, err := conductor.ConsoleTarget(context.Background(), rpc.ConsoleTargetArgs{Token: token}); !fault.Is(err, fault.NotFound) {
		t.Errorf("the token outlives its server: %v", err)
	}
}

func TestSec41FaultsTellUsersNothingOfTheHost(t *testing.T) {
	const canary = "/var/lib/canary-7f3a/disk"
	c := novatest.New(t, novatest.WithDriver(func(_ string, cfg *fake.Config) {
		cfg.Fault = func(method, _ string) error {
			if method == "Define" {
				return errors.New("open " + canary)
			}
			return nil
		}
	}))
	id := c.Create(c.Flavor("small"), nil)
	c.Wait(id, "ERROR")
	for _, path := range []string{"/servers/" + id, "/servers/detail", "/servers/" + id + "/hastack-trace", "/servers/" + id + "/os-instance-actions"} {
		r := c.Must(200, 93, "member", "GET", path, nil)
		if strings.Contains(string(r.Body), canary) || strings.Contains(string(r.Body), "host1") {
			t.Errorf("%s tells a member of the host: %s", path, r.Body)
		}
	}
	if r := c.Must(200, 93, "admin", "GET", "/servers/"+id, nil); !strings.Contains(r.Text("server", "fault", "details"), canary) {
		t.Errorf("the administrator is not told why: %s", r.Body)
	}
}

func TestSec46RebuildsRespectImagesAndKeepOneAllocation(t *testing.T) {
	c := novatest.New(t)
	id := c.Boot(c.Flavor("small"), nil)
	large := c.Neighbours.AddImage(M{"min_disk": 100})
	hungry := c.Neighbours.AddImage(M{"min_ram": 1 << 20})
	queued := c.Neighbours.AddImage(M{"status": "queued"})
	for _, image := range []string{large, hungry, queued, "00000000-0000-4000-8000-000000000000"} {
		c.Must(400, 93, "member", "POST", "/servers/"+id+"/action", M{"rebuild": M{"imageRef": image}})
	}
	for range 50 {
		c.Act(id, "rebuild", M{"imageRef": c.Image})
		c.Wait(id, "ACTIVE")
	}
	if c.Neighbours.Claims() != 1 || len(c.Neighbours.Ports("")) != 1 {
		t.Errorf("%d allocations and %d ports after 50 rebuilds", c.Neighbours.Claims(), len(c.Neighbours.Ports("")))
	}
	remove(t, c, id)
}

func TestSec45ListsInRequestsAreBounded(t *testing.T) {
	c := novatest.New(t)
	flavor := c.Flavor("small")
	many := make([]string, 5000)
	nets := make([]M, 1000)
	for i := range many {
		many[i] = "00000000-0000-4000-8000-000000000000"
	}
	for i := range nets {
		nets[i] = M{"uuid": c.Network}
	}
	srv := func(more M) M {
		s := M{"name": "vm", "imageRef": c.Image, "flavorRef": flavor, "networks": "none"}
		maps.Copy(s, more)
		return M{"server": s}
	}
	hints := srv(nil)
	hints["os:scheduler_hints"] = M{"different_host": many}
	for name, body := range map[string]M{"hints": hints, "networks": srv(M{"networks": nets}), "tags": srv(M{"tags": many})} {
		if r := c.Do(93, "member", "POST", "/servers", body); r.Status != 400 {
			t.Errorf("%s: %d %s", name, r.Status, r.Body)
		}
	}
	if r := c.Do(93, "member", "GET", "/servers?name="+strings.Repeat("(a*)*", 100), nil); r.Status != 400 {
		t.Errorf("a long pattern: %d", r.Status)
	}
}
