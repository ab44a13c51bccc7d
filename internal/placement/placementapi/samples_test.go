package placementapi_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/placement/placementtest"
)

// The published bodies, with HASTACK_API_SAMPLES naming their folder: every
// answer has the same keys with the same JSON types, every request is taken.
func TestPublishedSamples(t *testing.T) {
	dir := os.Getenv("HASTACK_API_SAMPLES")
	if dir == "" {
		t.Skip("HASTACK_API_SAMPLES names no folder of samples")
	}
	dir = filepath.Join(dir, "placement")
	s := newSampleCloud(t, dir)
	var used []string
	for _, row := range s.answers() {
		used = append(used, row.sample)
		t.Run(row.sample, func(t *testing.T) {
			r := s.c.As("service", row.version, row.method, row.path, row.body)
			if r.Status != http.StatusOK && r.Status != http.StatusCreated {
				t.Fatalf("%s %s = %d %s", row.method, row.path, r.Status, r.Body)
			}
			var got any
			if err := json.Unmarshal(r.Body, &got); err != nil {
				t.Fatal(err)
			}
			compareShape(t, "", s.load(t, row.sample), got)
		})
	}
	for _, row := range s.requests() {
		used = append(used, row.sample)
		t.Run(row.sample, func(t *testing.T) {
			r := s.c.As("service", row.version, row.method, row.path, row.body)
			if r.Status >= 300 {
				t.Fatalf("%s %s = %d %s", row.method, row.path, r.Status, r.Body)
			}
		})
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if name, _ := filepath.Rel(dir, path); !slices.Contains(used, name) {
				t.Errorf("sample %s is not served", name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// compareShape walks the sample. Keys that are uuids or resource classes stand
// for any other; the first item of a list stands for all.
func compareShape(t *testing.T, path string, want, got any) {
	t.Helper()
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s: %T, want an object", path, got)
			return
		}
		if dynamic(w) {
			compareShape(t, path+"/*", anyOf(w), anyOf(g))
			return
		}
		for k, v := range w {
			if _, ok := g[k]; !ok {
				t.Errorf("%s: no key %s", path, k)
				continue
			}
			compareShape(t, path+"/"+k, v, g[k])
		}
		for k := range g {
			if _, ok := w[k]; !ok {
				t.Errorf("%s: key %s is not in the sample", path, k)
			}
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) == 0 && len(w) > 0 {
			t.Errorf("%s: %v, want a list of something", path, got)
			return
		}
		if len(w) > 0 {
			compareShape(t, path+"[]", w[0], g[0])
		}
	case nil: // null or what stands there instead
	default:
		if got != nil && fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
			t.Errorf("%s: %T, want %T", path, got, want)
		}
	}
}

// dynamic tells whether the keys are data: uuids, classes, consumer types.
func dynamic(m map[string]any) bool {
	for k := range m {
		if !ids.IsUUID(k) && (k != strings.ToUpper(k) || k == "") && k != "unknown" && k != "consumer_count" {
			return false
		}
	}
	return len(m) > 0
}

func anyOf(m map[string]any) any {
	for _, k := range slices.Sorted(mapKeys(m)) {
		if k != "consumer_count" {
			return m[k]
		}
	}
	return nil
}

func mapKeys(m map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

type sampleCloud struct {
	c         *placementtest.Cloud
	dir       string
	t         *testing.T
	host      string
	consumer  string
	aggregate string
}

type sampleRow struct {
	sample, version, method, path string
	body                          any
}

func newSampleCloud(t *testing.T, dir string) *sampleCloud {
	s := &sampleCloud{c: placementtest.New(t), dir: dir, t: t, consumer: ids.UUID(), aggregate: ids.UUID()}
	ctx := t.Context()
	s.host = s.c.Host("host", 64, 65536, 4000)
	nicTree(s.c)
	for _, trait := range []string{"CUSTOM_HW_FPGA_CLASS1", "CUSTOM_HW_FPGA_CLASS2", "CUSTOM_HW_FPGA_CLASS3"} {
		s.c.Must(http.StatusCreated, "PUT", "/traits/"+trait, nil)
	}
	s.c.Must(http.StatusCreated, "PUT", "/resource_classes/CUSTOM_FPGA", nil)
	if _, err := s.c.Service.SetTraits(ctx, s.host, nil, []string{"CUSTOM_HW_FPGA_CLASS1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.c.Service.SetAggregates(ctx, s.host, nil, []string{s.aggregate}); err != nil {
		t.Fatal(err)
	}
	s.c.Must(http.StatusNoContent, "PUT", "/allocations/"+s.consumer, placementtest.Claim(s.host, server(1, 512, 5)))
	return s
}

func (s *sampleCloud) load(t *testing.T, name string) any {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// provider makes a provider with room and returns its uuid.
func (s *sampleCloud) provider(name string) string {
	return s.c.Host(name, 64, 65536, 4000)
}

func (s *sampleCloud) generation(uuid string) int64 {
	p, err := s.c.Service.Provider(s.t.Context(), uuid)
	if err != nil {
		s.t.Fatal(err)
	}
	return p.Generation
}

// onProvider is a sample's body for a fresh provider, at its generation.
func (s *sampleCloud) onProvider(name string) (uuid string, body map[string]any) {
	uuid = s.provider(ids.UUID())
	body = s.load(s.t, name).(map[string]any)
	body["resource_provider_generation"] = s.generation(uuid)
	return uuid, body
}

func (s *sampleCloud) answers() []sampleRow {
	rp := "/resource_providers/" + s.host
	ask := "/allocation_candidates?resources=VCPU:1,MEMORY_MB:512"
	project := "/usages?project_id=d0000000000000000000000000000001"
	rows := []sampleRow{
		{"root/get-root.json", "1.28", "GET", "/", nil},
		{"aggregates/get-aggregates.json", "1.1", "GET", rp + "/aggregates", nil},
		{"aggregates/get-aggregates-1.19.json", "1.19", "GET", rp + "/aggregates", nil},
		{"aggregates/update-aggregates.json", "1.1", "PUT", rp + "/aggregates", s.load(s.t, "aggregates/update-aggregates-request.json")},
		{"allocation_candidates/get-allocation_candidates.json", "1.10", "GET", ask, nil},
		{"allocation_candidates/get-allocation_candidates-1.12.json", "1.12", "GET", ask, nil},
		{"allocation_candidates/get-allocation_candidates-1.17.json", "1.17", "GET", ask + "&required=CUSTOM_HW_FPGA_CLASS1", nil},
		{"allocation_candidates/get-allocation_candidates-1.29.json", "1.29", "GET", ask + "&required=CUSTOM_HW_FPGA_CLASS1", nil},
		{"allocation_candidates/get-allocation_candidates-1.34.json", "1.34", "GET", networkQuery, nil},
		{"allocations/get-allocations.json", "1.12", "GET", "/allocations/" + s.consumer, nil},
		{"allocations/get-allocations-1.28.json", "1.28", "GET", "/allocations/" + s.consumer, nil},
		{"allocations/get-allocations-1.38.json", "1.38", "GET", "/allocations/" + s.consumer, nil},
		{"inventories/get-inventories.json", "1.0", "GET", rp + "/inventories", nil},
		{"inventories/get-inventory.json", "1.0", "GET", rp + "/inventories/VCPU", nil},
		{"resource_classes/get-resource_class.json", "1.2", "GET", "/resource_classes/CUSTOM_FPGA", nil},
		{"resource_classes/get-resource_classes.json", "1.2", "GET", "/resource_classes", nil},
		{
			"resource_classes/update-resource_class.json", "1.2", "PUT", "/resource_classes/CUSTOM_FPGA",
			s.load(s.t, "resource_classes/update-resource_class-request.json"),
		},
		{"resource_provider_allocations/get-resource_provider_allocations.json", "1.0", "GET", rp + "/allocations", nil},
		{"resource_provider_traits/get-resource_provider-traits.json", "1.6", "GET", rp + "/traits", nil},
		{"resource_provider_usages/get-resource_provider_usages.json", "1.0", "GET", rp + "/usages", nil},
		{"resource_providers/get-resource_provider.json", "1.28", "GET", rp, nil},
		{"resource_providers/get-resource_providers.json", "1.28", "GET", "/resource_providers", nil},
		{"traits/get-traits.json", "1.6", "GET", "/traits?name=startswith:CUSTOM_", nil},
		{"usages/get-usages.json", "1.9", "GET", project, nil},
		{"usages/get-usages-1.38.json", "1.38", "GET", project, nil},
	}
	return append(rows, s.updates()...)
}

// updates are answers to bodies that name a generation.
func (s *sampleCloud) updates() []sampleRow {
	var rows []sampleRow
	for _, u := range []struct{ answer, request, version, suffix string }{
		{"aggregates/update-aggregates-1.19.json", "aggregates/update-aggregates-request-1.19.json", "1.19", "/aggregates"},
		{"inventories/update-inventories.json", "inventories/update-inventories-request.json", "1.0", "/inventories"},
		{"inventories/update-inventory.json", "inventories/update-inventory-request.json", "1.0", "/inventories/VCPU"},
		{"resource_provider_traits/update-resource_provider-traits.json", "resource_provider_traits/update-resource_provider-traits-request.json", "1.6", "/traits"},
	} {
		uuid, body := s.onProvider(u.request)
		rows = append(rows, sampleRow{u.answer, u.version, "PUT", "/resource_providers/" + uuid + u.suffix, body})
	}
	create := s.load(s.t, "resource_providers/create-resource_providers-request.json").(map[string]any)
	create["parent_provider_uuid"] = s.host
	update := s.load(s.t, "resource_providers/update-resource_provider-request.json").(map[string]any)
	update["parent_provider_uuid"] = s.host
	return append(rows,
		sampleRow{"resource_providers/create-resource_provider.json", "1.20", "POST", "/resource_providers", create},
		sampleRow{"resource_providers/update-resource_provider.json", "1.28", "PUT", "/resource_providers/" + s.provider(ids.UUID()), update})
}

// requests are published bodies that are answered without one.
func (s *sampleCloud) requests() []sampleRow {
	rows := []sampleRow{
		{
			"resource_classes/create-resource_classes-request.json", "1.2", "POST", "/resource_classes",
			s.load(s.t, "resource_classes/create-resource_classes-request.json"),
		},
	}
	for _, name := range []string{ // sent by answers
		"aggregates/update-aggregates-request.json", "aggregates/update-aggregates-request-1.19.json",
		"inventories/update-inventories-request.json", "inventories/update-inventory-request.json",
		"resource_classes/update-resource_class-request.json",
		"resource_provider_traits/update-resource_provider-traits-request.json",
		"resource_providers/create-resource_providers-request.json", "resource_providers/update-resource_provider-request.json",
	} {
		rows = append(rows, sampleRow{name, "1.28", "GET", "/resource_providers/" + s.host, nil})
	}
	for _, u := range []struct{ name, version string }{
		{"update-allocations-request.json", "1.8"}, {"update-allocations-request-1.12.json", "1.12"},
		{"update-allocations-request-1.28.json", "1.28"}, {"update-allocations-request-1.38.json", "1.38"},
	} {
		body := s.load(s.t, "allocations/"+u.name).(map[string]any)
		s.rehome(body)
		rows = append(rows, sampleRow{"allocations/" + u.name, u.version, "PUT", "/allocations/" + ids.UUID(), body})
	}
	for _, u := range []struct{ name, version string }{
		{"manage-allocations-request.json", "1.13"}, {"manage-allocations-request-1.28.json", "1.28"}, {"manage-allocations-request-1.38.json", "1.38"},
	} {
		body := s.load(s.t, "allocations/"+u.name).(map[string]any)
		fresh := map[string]any{}
		for _, c := range body {
			s.rehome(c.(map[string]any))
			fresh[ids.UUID()] = c
		}
		rows = append(rows, sampleRow{"allocations/" + u.name, u.version, "POST", "/allocations", fresh})
	}
	return append(rows, s.reshapings()...)
}

// reshapings are the published bodies of the reshaper, on providers and for
// consumers of this cloud.
func (s *sampleCloud) reshapings() []sampleRow {
	var rows []sampleRow
	for _, u := range []struct{ name, version string }{{"reshaper/post-reshaper-1.30.json", "1.30"}, {"reshaper/post-reshaper-1.38.json", "1.38"}} {
		raw, err := json.Marshal(s.load(s.t, u.name))
		if err != nil {
			s.t.Fatal(err)
		}
		text, body := string(raw), s.load(s.t, u.name).(map[string]any)
		for uuid := range body["inventories"].(map[string]any) {
			p, err := s.c.Service.CreateProvider(s.t.Context(), "", ids.UUID(), "")
			if err != nil {
				s.t.Fatal(err)
			}
			text = strings.ReplaceAll(text, uuid, p.UUID)
		}
		for uuid := range body["allocations"].(map[string]any) {
			text = strings.ReplaceAll(text, uuid, ids.UUID())
		}
		text = strings.ReplaceAll(text, `"consumer_generation":1`, `"consumer_generation":null`)
		text = strings.ReplaceAll(text, `"resource_provider_generation":5`, `"resource_provider_generation":0`)
		rows = append(rows, sampleRow{u.name, u.version, "POST", "/reshaper", text})
	}
	return rows
}

// rehome points a claim at a provider of this cloud and makes it a new one.
func (s *sampleCloud) rehome(claim map[string]any) {
	if _, ok := claim["consumer_generation"]; ok {
		claim["consumer_generation"] = nil
	}
	switch a := claim["allocations"].(type) {
	case map[string]any:
		fresh := map[string]any{}
		for _, v := range a {
			fresh[s.provider(ids.UUID())] = v
		}
		claim["allocations"] = fresh
	case []any:
		for _, v := range a {
			v.(map[string]any)["resource_provider"] = map[string]any{"uuid": s.provider(ids.UUID())}
		}
	}
}
