package novaapi_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/nova/novatest"
)

type M = novatest.M

// open are objects whose keys are data, not form.
var open = []string{"metadata", "extra_specs", "addresses", "hosts", "rules", "meta"}

// differ lists how the shapes of two JSON values differ: keys and types, not
// values. null stands for every type, an empty list for every list.
func differ(path string, want, got any) []string {
	if want == nil || got == nil {
		return nil
	}
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T, want an object", path, got)}
		}
		last := path[strings.LastIndex(path, ".")+1:]
		if slices.Contains(open, last) {
			return nil
		}
		var out []string
		for k := range w {
			if _, ok := g[k]; !ok {
				out = append(out, path+"."+k+" is missing")
				continue
			}
			out = append(out, differ(path+"."+k, w[k], g[k])...)
		}
		for k := range g {
			if _, ok := w[k]; !ok {
				out = append(out, path+"."+k+" is not in the sample")
			}
		}
		return out
	case []any:
		g, ok := got.([]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T, want a list", path, got)}
		}
		if len(w) == 0 || len(g) == 0 {
			return nil
		}
		return differ(path+"[]", w[0], g[0])
	}
	if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
		return []string{fmt.Sprintf("%s is %T, want %T", path, got, want)}
	}
	return nil
}

// A sampleTest is one published answer and the request that must give its
// shape. skip are differences that are known and right.
type sampleTest struct {
	file   string // in the folder nova; v2.N in it is the microversion
	method string
	path   string // {server}, {flavor}, … are replaced by ids that exist
	body   any    // nil, an object, or the name of a request sample
	status int
	skip   string // regular expression
	admin  bool
}

var versionDir = regexp.MustCompile(`/v2\.(\d+)/`)

func (s sampleTest) minor() int {
	if m := versionDir.FindStringSubmatch(s.file); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return 1
}

func samplesDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("HASTACK_API_SAMPLES")
	if dir == "" {
		t.Skip("HASTACK_API_SAMPLES does not name the folder of the published samples")
	}
	return filepath.Join(dir, "nova")
}

// fixture is a cloud with one of everything, and the ids by placeholder.
func fixture(t *testing.T) (*novatest.Cloud, func(string) string) {
	c := novatest.New(t)
	flavor := c.Flavor("m1.tiny")
	server := c.Boot(flavor, M{"metadata": M{"a": "b"}, "tags": []string{"tag1"}})
	group := c.Must(200, 93, "member", "POST", "/os-server-groups", M{"server_group": M{"name": "g", "policy": "anti-affinity", "rules": M{"max_server_per_host": 3}}}).Text("server_group", "id")
	c.Must(201, 2, "member", "POST", "/os-keypairs", M{"keypair": M{"name": "key"}})
	c.Must(200, 1, "admin", "POST", "/flavors/"+flavor+"/os-extra_specs", M{"extra_specs": M{"hw:numa_nodes": "1"}})
	private := c.Must(200, 1, "admin", "POST", "/flavors", M{"flavor": M{"name": "private", "vcpus": 1, "ram": 1, "disk": 0, "os-flavor-access:is_public": false}}).Text("flavor", "id")
	c.Must(200, 1, "admin", "POST", "/flavors/"+private+"/action", M{"addTenantAccess": M{"tenant": "fake_tenant"}})
	agg := c.Must(200, 1, "admin", "POST", "/os-aggregates", M{"aggregate": M{"name": "agg", "availability_zone": "nova"}})
	c.Act(server, "os-stop", nil)
	c.Wait(server, "SHUTOFF")
	c.Act(server, "os-start", nil)
	c.Wait(server, "ACTIVE")
	actions := c.Must(200, 93, "admin", "GET", "/servers/"+server+"/os-instance-actions", nil).List("instanceActions")
	hyper := c.Must(200, 53, "admin", "GET", "/os-hypervisors", nil).List("hypervisors")
	services := c.Must(200, 53, "admin", "GET", "/os-services?binary=nova-compute", nil).List("services")
	r := strings.NewReplacer("{server}", server, "{flavor}", flavor, "{group}", group, "{private}", private, "{image}", c.Image, "{network}", c.Network,
		"{port}", c.Neighbours.Ports(server)[0], "{aggregate}", fmt.Sprint(agg.Get("aggregate", "id")), "{action}", actions[0]["request_id"].(string),
		"{hypervisor}", hyper[0]["id"].(string), "{service}", services[0]["id"].(string), "{project}", "d0000000000000000000000000000001")
	return c, r.Replace
}

func sample(t *testing.T, dir, file string) any {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRebuildAnswersHaveTheShapeOfThePublishedSamples(t *testing.T) {
	dir := samplesDir(t)
	c := novatest.New(t)
	id := c.Boot(c.Flavor("small"), nil)
	for _, v := range []string{"", "v2.19/", "v2.26/", "v2.47/", "v2.54/", "v2.57/", "v2.63/", "v2.71/", "v2.73/", "v2.75/", "v2.90/"} {
		file := "servers/" + v + "server-action-rebuild-resp.json"
		r := c.Must(202, sampleTest{file: file}.minor(), "member", "POST", "/servers/"+id+"/action", M{"rebuild": M{"imageRef": c.Image, "adminPass": "x"}})
		c.Wait(id, "ACTIVE")
		var answer any
		if err := json.Unmarshal(r.Body, &answer); err != nil {
			t.Fatal(err)
		}
		for _, d := range differ("", sample(t, dir, file), answer) {
			if !regexp.MustCompile(srvSkip).MatchString(d) {
				t.Errorf("%s: %s", file, d)
			}
		}
	}
}

func TestAnswersHaveTheShapeOfThePublishedSamples(t *testing.T) {
	dir := samplesDir(t)
	c, fill := fixture(t)
	for _, s := range contract() {
		t.Run(strings.TrimSuffix(s.file, ".json"), func(t *testing.T) {
			want := sample(t, dir, s.file)
			persona := "member"
			if s.admin {
				persona = "admin"
			}
			body := s.body
			if m, ok := body.(M); ok {
				b, err := json.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				body = fill(string(b))
			}
			got := c.Do(s.minor(), persona, s.method, fill(s.path), body)
			if got.Status != s.status {
				t.Fatalf("%d, want %d: %s", got.Status, s.status, got.Body)
			}
			var answer any
			if err := json.Unmarshal(got.Body, &answer); err != nil {
				t.Fatalf("%v: %s", err, got.Body)
			}
			for _, d := range differ("", want, answer) {
				if s.skip == "" || !regexp.MustCompile(s.skip).MatchString(d) {
					t.Error(d)
				}
			}
		})
	}
}
