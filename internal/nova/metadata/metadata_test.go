package metadata

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
)

type conductor struct {
	spec  *rpc.ServerSpec
	calls int
}

func (c *conductor) ServerMetadata(_ context.Context, in rpc.ServerMetadataArgs) (*rpc.ServerSpec, error) {
	c.calls++
	if in.ServerID != c.spec.ID || in.ProjectID != c.spec.ProjectID {
		return nil, fault.New(fault.NotFound, "no such server")
	}
	return c.spec, nil
}

func spec() *rpc.ServerSpec {
	return &rpc.ServerSpec{ID: ids.UUID(), ProjectID: ids.Hex(), InstanceName: "instance-0000002a", Name: "Web One", Hostname: "web-one",
		Flavor: rpc.Flavor{Name: "m1.tiny"}, Image: rpc.Image{ID: ids.UUID()}, AvailabilityZone: "nova", UserData: []byte("#!/bin/sh\ntrue\n"),
		Key: rpc.Key{Name: "me", PublicKey: "ssh-ed25519 AAAA"}, Metadata: map[string]string{"role": "web"},
		Networks: []rpc.VIF{{PortID: ids.UUID(), MAC: "fa:16:3e:00:00:01", Tap: "tapx", MTU: 1450, NetworkID: ids.UUID(),
			Subnets: []rpc.Subnet{{CIDR: "10.0.0.0/26", Version: 4, Gateway: "10.0.0.1", DNS: []string{"10.0.0.2"},
				Addrs: []rpc.Address{{IP: "10.0.0.5", Floating: []string{"172.24.4.11"}}}}}}}}
}

var secret = config.NewSecret("shared")

func newService(t *testing.T, c Conductor, clk clock.Clock) *Service {
	t.Helper()
	s, err := New(Config{SharedSecret: secret}, c, clk, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func get(s http.Handler, path, id, project, signature string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "http://169.254.169.254"+path, nil)
	r.Header.Set("X-Instance-ID", id)
	r.Header.Set("X-Tenant-ID", project)
	r.Header.Set("X-Instance-ID-Signature", signature)
	r.Header.Set("X-Forwarded-For", "10.0.0.5")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestPathsAnswerWhatGuestsExpect(t *testing.T) {
	c := &conductor{spec: spec()}
	s := newService(t, c, clock.System)
	for path, want := range map[string]string{
		"/":                                           strings.Join(ec2Versions, "\n"),
		"/openstack":                                  strings.Join(openstackVersions, "\n"),
		"/openstack/":                                 strings.Join(openstackVersions, "\n"),
		"/openstack/latest":                           "meta_data.json\nnetwork_data.json\nuser_data\nvendor_data.json\nvendor_data2.json",
		"/openstack/latest/user_data":                 "#!/bin/sh\ntrue\n",
		"/openstack/2013-04-04/user_data":             "#!/bin/sh\ntrue\n",
		"/latest/":                                    "meta-data/\nuser-data",
		"/2009-04-04/meta-data/instance-id":           "i-0000002a",
		"/latest/meta-data/hostname":                  "web-one.novalocal",
		"/latest/meta-data/local-ipv4":                "10.0.0.5",
		"/latest/meta-data/public-ipv4":               "172.24.4.11",
		"/latest/meta-data/public-keys/":              "0=me",
		"/latest/meta-data/public-keys/0/":            "openssh-key",
		"/latest/meta-data/public-keys/0/openssh-key": "ssh-ed25519 AAAA",
		"/latest/user-data":                           "#!/bin/sh\ntrue\n",
	} {
		w := get(s, path, c.spec.ID, c.spec.ProjectID, Sign(secret, c.spec.ID))
		if w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %q, want %q", path, w.Code, w.Body, want)
		}
	}
	for _, path := range []string{"/openstack/1999-01-01/meta_data.json", "/latest/meta-data/nothing", "/etc/passwd", "/openstack/latest/../../x"} {
		if w := get(s, path, c.spec.ID, c.spec.ProjectID, Sign(secret, c.spec.ID)); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if c.calls != 1 {
		t.Errorf("%d calls to the conductor for one guest's boot", c.calls)
	}
}

func TestMetaDataNamesTheServer(t *testing.T) {
	c := &conductor{spec: spec()}
	s := newService(t, c, clock.System)
	w := get(s, "/openstack/latest/meta_data.json", c.spec.ID, c.spec.ProjectID, Sign(secret, c.spec.ID))
	var doc map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc["uuid"] != c.spec.ID || doc["hostname"] != "web-one.novalocal" || doc["name"] != "Web One" ||
		doc["public_keys"].(map[string]any)["me"] != "ssh-ed25519 AAAA" || doc["meta"].(map[string]any)["role"] != "web" {
		t.Errorf("meta_data.json %v", doc)
	}
}

func TestNetworkDataIsStaticWithoutDHCP(t *testing.T) {
	got := networkData(spec().Networks)
	n := got.Networks[0]
	if n.Type != "ipv4" || n.IP != "10.0.0.5" || n.Netmask != "255.255.255.192" || n.Routes[0].Gateway != "10.0.0.1" {
		t.Errorf("%+v", n)
	}
	if got.Services[0].Address != "10.0.0.2" || got.Links[0].MTU != 1450 {
		t.Errorf("%+v", got)
	}
}

func TestSec42MetadataOfAnotherServerIsRefused(t *testing.T) {
	mine, other := spec(), spec()
	s := newService(t, &conductor{spec: other}, clock.System)
	for name, tc := range map[string]struct {
		id, project, signature string
		want                   int
	}{
		"unsigned":                {other.ID, other.ProjectID, "", 403},
		"signature of own id":     {other.ID, other.ProjectID, Sign(secret, mine.ID), 403},
		"wrong secret":            {other.ID, other.ProjectID, Sign(config.NewSecret("x"), other.ID), 403},
		"signed, foreign project": {other.ID, mine.ProjectID, Sign(secret, other.ID), 404},
		"signed, no project":      {other.ID, "", Sign(secret, other.ID), 403},
		"unknown server":          {mine.ID, mine.ProjectID, Sign(secret, mine.ID), 404},
	} {
		if w := get(s, "/openstack/latest/meta_data.json", tc.id, tc.project, tc.signature); w.Code != tc.want || strings.Contains(w.Body.String(), other.Name) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if w := get(s, "/latest/user-data", other.ID, other.ProjectID, Sign(secret, other.ID)); w.Code != 200 {
		t.Errorf("the owner gets %d", w.Code)
	}
}

func TestChangesShowAfterTheCacheTime(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c := &conductor{spec: spec()}
	s := newService(t, c, clk)
	ask := func() string {
		return get(s, "/latest/meta-data/hostname", c.spec.ID, c.spec.ProjectID, Sign(secret, c.spec.ID)).Body.String()
	}
	ask()
	c.spec.Hostname = "renamed"
	if got := ask(); got != "web-one.novalocal" {
		t.Errorf("cached %q", got)
	}
	clk.Advance(cacheFor)
	if got := ask(); got != "renamed.novalocal" {
		t.Errorf("after the cache time %q", got)
	}
}

func TestDriveHoldsBothForms(t *testing.T) {
	s := spec()
	s.Files = []rpc.File{{Path: "/etc/motd", Contents: []byte("hi")}}
	files, err := DriveFiles(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"openstack/latest/meta_data.json", "openstack/latest/network_data.json", "openstack/latest/user_data",
		"openstack/content/0000", "ec2/latest/meta-data.json", "ec2/latest/user-data", "openstack/2018-08-27/vendor_data.json"} {
		if len(files[p]) == 0 {
			t.Errorf("%s is missing", p)
		}
	}
}
