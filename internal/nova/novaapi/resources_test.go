package novaapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/nova/novatest"
)

func TestAvailabilityZonesAndDisabledHostsSteerBoots(t *testing.T) {
	c := novatest.New(t, novatest.WithHosts("h1", "h2"))
	flavor := c.Flavor("small")
	agg := fmt.Sprint(c.Must(200, 93, "admin", "POST", "/os-aggregates", M{"aggregate": M{"name": "west", "availability_zone": "west"}}).Get("aggregate", "id"))
	c.Must(404, 93, "admin", "POST", "/os-aggregates/"+agg+"/action", M{"add_host": M{"host": "nope"}})
	c.Must(200, 93, "admin", "POST", "/os-aggregates/"+agg+"/action", M{"add_host": M{"host": "h2"}})
	c.Must(409, 93, "admin", "POST", "/os-aggregates/"+agg+"/action", M{"add_host": M{"host": "h2"}})
	c.Must(400, 93, "admin", "DELETE", "/os-aggregates/"+agg, nil)
	id := c.Boot(flavor, M{"availability_zone": "west"})
	s := c.Must(200, 93, "admin", "GET", "/servers/"+id, nil)
	if s.Text("server", "OS-EXT-SRV-ATTR:host") != "h2" || s.Text("server", "OS-EXT-AZ:availability_zone") != "west" {
		t.Errorf("server in %s on %s", s.Text("server", "OS-EXT-AZ:availability_zone"), s.Text("server", "OS-EXT-SRV-ATTR:host"))
	}
	c.Must(400, 93, "admin", "PUT", "/os-aggregates/"+agg, M{"aggregate": M{"availability_zone": "east"}})
	services := c.Must(200, 93, "admin", "GET", "/os-services?host=h1&binary=nova-compute", nil).List("services")
	c.Must(200, 93, "admin", "PUT", "/os-services/"+services[0]["id"].(string), M{"status": "disabled", "disabled_reason": "maintenance"})
	c.Must(400, 93, "member", "POST", "/servers", M{"server": M{"name": "b", "imageRef": c.Image, "flavorRef": flavor, "networks": "none", "availability_zone": "nova"}})
	if got := c.Boot(flavor, nil); c.Neighbours.ClaimHost(got) != "h2" {
		t.Errorf("a boot went to the disabled host %s", c.Neighbours.ClaimHost(got))
	}
	c.Must(409, 93, "admin", "DELETE", "/os-services/"+c.Must(200, 93, "admin", "GET", "/os-services?host=h2&binary=nova-compute", nil).List("services")[0]["id"].(string), nil)
}

func TestForcedHostIsUsedByAdministrators(t *testing.T) {
	c := novatest.New(t, novatest.WithHosts("h1", "h2"))
	body := M{"server": M{"name": "vm", "imageRef": c.Image, "flavorRef": c.Flavor("small"), "networks": "none", "availability_zone": "nova:h2"}}
	c.Must(403, 93, "member", "POST", "/servers", body)
	id := c.Must(202, 93, "admin", "POST", "/servers", body).Text("server", "id")
	c.Wait(id, "ACTIVE")
	if c.Neighbours.ClaimHost(id) != "h2" {
		t.Errorf("server is on %s", c.Neighbours.ClaimHost(id))
	}
	body["server"].(M)["availability_zone"] = "nova:mars"
	c.Must(400, 93, "admin", "POST", "/servers", body)
}

func TestQuotasHoldAndAreGivenBack(t *testing.T) {
	const project = "d0000000000000000000000000000001"
	c := novatest.New(t)
	flavor := c.Flavor("small")
	c.Must(403, 57, "member", "PUT", "/os-quota-sets/"+project, M{"quota_set": M{"cores": 1}})
	c.Must(400, 57, "admin", "PUT", "/os-quota-sets/"+project, M{"quota_set": M{"nope": 1}})
	c.Must(400, 57, "admin", "PUT", "/os-quota-sets/"+project, M{"quota_set": M{"cores": -2}})
	c.Must(200, 57, "admin", "PUT", "/os-quota-sets/"+project, M{"quota_set": M{"cores": 1}})
	id := c.Boot(flavor, nil)
	r := c.Must(403, 93, "member", "POST", "/servers", M{"server": M{"name": "b", "imageRef": c.Image, "flavorRef": flavor, "networks": "none"}})
	if msg := r.Text("forbidden", "message"); !strings.Contains(msg, "Quota exceeded for cores") {
		t.Errorf("message %q", msg)
	}
	c.Must(400, 57, "admin", "PUT", "/os-quota-sets/"+project, M{"quota_set": M{"instances": 0}})
	c.Must(204, 93, "member", "DELETE", "/servers/"+id, nil)
	c.Wait(id, "DELETED")
	d := c.Must(200, 57, "member", "GET", "/os-quota-sets/"+project+"/detail", nil)
	for _, res := range []string{"instances", "cores", "ram"} {
		if d.Get("quota_set", res, "in_use") != 0.0 {
			t.Errorf("%s in use %v after the deletion", res, d.Get("quota_set", res, "in_use"))
		}
	}
	c.Must(202, 57, "admin", "DELETE", "/os-quota-sets/"+project, nil)
	if got := c.Must(200, 57, "member", "GET", "/os-quota-sets/"+project, nil).Get("quota_set", "cores"); got != 20.0 {
		t.Errorf("cores %v after the reset", got)
	}
	c.Must(403, 57, "other", "GET", "/os-quota-sets/"+project, nil)
}

func TestKeyPairsBelongToTheirUser(t *testing.T) {
	c := novatest.New(t)
	r := c.Must(201, 91, "member", "POST", "/os-keypairs", M{"keypair": M{"name": "k"}})
	if !strings.Contains(r.Text("keypair", "private_key"), "PRIVATE KEY") || !strings.HasPrefix(r.Text("keypair", "public_key"), "ssh-ed25519 ") {
		t.Fatalf("key pair %s", r.Body)
	}
	c.Must(409, 91, "member", "POST", "/os-keypairs", M{"keypair": M{"name": "k"}})
	c.Must(404, 93, "other", "GET", "/os-keypairs/k", nil)
	c.Must(403, 93, "other", "GET", "/os-keypairs?user_id=f000000000000000000000d5d2520000", nil)
	for name, key := range map[string]string{"two lines": r.Text("keypair", "public_key") + "\nssh-rsa AAAA", "options": `command="x" ` + r.Text("keypair", "public_key"),
		"nonsense": "hello", "long": strings.Repeat("x", 20000)} {
		if r := c.Do(93, "member", "POST", "/os-keypairs", M{"keypair": M{"name": "bad", "public_key": key}}); r.Status != 400 {
			t.Errorf("%s: %d %s", name, r.Status, r.Body)
		}
	}
	for _, name := range []string{"", "a/b", "x\ny", strings.Repeat("k", 256), " k"} {
		if r := c.Do(91, "member", "POST", "/os-keypairs", M{"keypair": M{"name": name}}); r.Status != 400 {
			t.Errorf("name %q: %d", name, r.Status)
		}
	}
	id := c.Boot(c.Flavor("small"), M{"key_name": "k"})
	if got := c.Must(200, 93, "member", "GET", "/servers/"+id, nil).Text("server", "key_name"); got != "k" {
		t.Errorf("key name %q", got)
	}
	c.Must(204, 93, "member", "DELETE", "/os-keypairs/k", nil)
	c.Must(404, 93, "member", "DELETE", "/os-keypairs/k", nil)
}

func TestPrivateFlavorsAreSeenByThoseWithAccess(t *testing.T) {
	c := novatest.New(t)
	id := c.Must(200, 1, "admin", "POST", "/flavors", M{"flavor": M{"name": "p", "vcpus": 1, "ram": 1, "disk": 1, "os-flavor-access:is_public": false}}).Text("flavor", "id")
	c.Must(404, 93, "member", "GET", "/flavors/"+id, nil)
	c.Must(400, 93, "member", "POST", "/servers", M{"server": M{"name": "b", "imageRef": c.Image, "flavorRef": id, "networks": "none"}})
	c.Must(200, 93, "admin", "POST", "/flavors/"+id+"/action", M{"addTenantAccess": M{"tenant": "d0000000000000000000000000000001"}})
	c.Must(409, 93, "admin", "POST", "/flavors/"+id+"/action", M{"addTenantAccess": M{"tenant": "d0000000000000000000000000000001"}})
	c.Must(200, 93, "member", "GET", "/flavors/"+id, nil)
	c.Must(404, 93, "other", "GET", "/flavors/"+id, nil)
	c.Must(409, 1, "admin", "POST", "/flavors", M{"flavor": M{"name": "p", "vcpus": 1, "ram": 1, "disk": 1}})
	for _, bad := range []M{{"name": "x", "vcpus": 0, "ram": 1, "disk": 1}, {"name": "x", "vcpus": 1, "ram": -1, "disk": 1}, {"name": "x", "vcpus": 1 << 40, "ram": 1, "disk": 1},
		{"name": "", "vcpus": 1, "ram": 1, "disk": 1}, {"name": "x", "vcpus": "many", "ram": 1, "disk": 1}, {"name": "x", "id": "a/b", "vcpus": 1, "ram": 1, "disk": 1},
		{"name": "x", "vcpus": 1, "ram": 1, "disk": 1, "rxtx_factor": -1}, {"name": "x", "vcpus": 1, "ram": 1, "disk": 1, "os-flavor-access:is_public": "FALSY"}} {
		if r := c.Do(93, "admin", "POST", "/flavors", M{"flavor": bad}); r.Status != 400 {
			t.Errorf("%v: %d %s", bad, r.Status, r.Body)
		}
	}
	c.Must(403, 93, "member", "POST", "/flavors", M{"flavor": M{"name": "x", "vcpus": 1, "ram": 1, "disk": 1}})
	c.Must(202, 93, "admin", "DELETE", "/flavors/"+id, nil)
	c.Must(404, 93, "admin", "DELETE", "/flavors/"+id, nil)
}

func TestInterfacesAreAttachedAndDetached(t *testing.T) {
	c := novatest.New(t)
	id := c.Boot(c.Flavor("small"), nil)
	r := c.Must(200, 93, "member", "POST", "/servers/"+id+"/os-interface", M{"interfaceAttachment": M{"net_id": c.Network}})
	port := r.Text("interfaceAttachment", "port_id")
	if port == "" || len(c.Neighbours.Ports(id)) != 2 {
		t.Fatalf("attached %s, ports %v", r.Body, c.Neighbours.Ports(id))
	}
	c.Must(202, 93, "member", "DELETE", "/servers/"+id+"/os-interface/"+port, nil)
	c.Eventually("the interface is gone", func() bool { return c.Do(93, "member", "GET", "/servers/"+id+"/os-interface/"+port, nil).Status == 404 })
	if n := len(c.Neighbours.Ports(id)); n != 1 {
		t.Errorf("%d ports, want 1", n)
	}
	c.Must(404, 93, "member", "DELETE", "/servers/"+id+"/os-interface/"+port, nil)
	c.Must(400, 93, "member", "POST", "/servers/"+id+"/os-interface", M{"interfaceAttachment": M{"net_id": "00000000-0000-4000-8000-000000000000"}})
}

func TestActionsThatAreNotBuiltSaySo(t *testing.T) {
	c := novatest.New(t)
	id := c.Boot(c.Flavor("small"), nil)
	for _, action := range []string{"resize", "shelve", "rescue", "createBackup"} {
		if r := c.Do(93, "member", "POST", "/servers/"+id+"/action", M{action: M{}}); r.Status != 501 || r.Text("notImplemented", "message") == "" {
			t.Errorf("%s: %d %s", action, r.Status, r.Body)
		}
	}
	c.Must(403, 93, "member", "POST", "/servers/"+id+"/action", M{"migrate": nil})
	c.Must(404, 93, "member", "POST", "/servers/"+id+"/action", M{"addFloatingIp": M{"address": "1.2.3.4"}})
	c.Must(400, 93, "member", "POST", "/servers/"+id+"/action", M{"dance": nil})
	c.Must(400, 93, "member", "POST", "/servers/"+id+"/action", M{"os-stop": nil, "os-start": nil})
	c.Must(400, 93, "member", "POST", "/servers/"+id+"/action", M{"reboot": M{"type": "GENTLE"}})
	c.Must(501, 93, "member", "POST", "/servers/"+id+"/os-volume_attachments", M{"volumeAttachment": M{"volumeId": id}})
	c.Must(403, 93, "member", "POST", "/servers/"+id+"/action", M{"os-resetState": M{"state": "error"}})
	c.Must(202, 93, "admin", "POST", "/servers/"+id+"/action", M{"os-resetState": M{"state": "error"}})
	c.Wait(id, "ERROR")
	c.Must(204, 93, "member", "DELETE", "/servers/"+id, nil)
	c.Wait(id, "DELETED")
}
