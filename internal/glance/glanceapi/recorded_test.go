package glanceapi_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hastack/hastack/internal/authtoken/authtokentest"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/glance/glancetest"
)

var update = flag.Bool("update", false, "rewrite testdata/samples from the answers of now")

// TestAnswersAreAsRecorded keeps the bodies that clients get from changing by
// accident. testdata/samples is also the documentation of the API.
func TestAnswersAreAsRecorded(t *testing.T) {
	c := glancetest.New(t, glancetest.WithClock(clock.NewFake(time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC))))
	const id = "b2173dd3-7ad6-4362-baa6-a68bce3565cb"
	path := "/v2/images/" + id
	recorded(t, "image-create", c.Do("member", "POST", "/v2/images", map[string]any{
		"id": id, "name": "testvm", "disk_format": "raw", "container_format": "bare", "os_distro": "debian", "tags": []string{"tiny"},
	}))
	c.Put("member", id, "data of an image")
	recorded(t, "image-show", c.Do("member", "GET", path, nil))
	recorded(t, "image-update", c.Patch("member", id, "min_ram", 96, "hw_disk_bus", "virtio"))
	other := c.Do("member", "POST", "/v2/images", `{"id":"1bea47ed-f6a9-463b-b423-14b9cca9ad27"}`)
	recorded(t, "image-create-minimal", other)
	recorded(t, "images-list", c.Do("member", "GET", "/v2/images?limit=1&sort=name:asc", nil))
	recorded(t, "member-create", c.Do("member", "POST", path+"/members", map[string]string{"member": authtokentest.OtherProject}))
	recorded(t, "member-update", c.Do("other", "PUT", path+"/members/"+authtokentest.OtherProject, map[string]string{"status": "accepted"}))
	recorded(t, "members-list", c.Do("member", "GET", path+"/members", nil))
	recorded(t, "error-not-found", c.Do("member", "GET", "/v2/images/0ae74cc5-5147-4239-9ce2-b0c580f7067e", nil))
	recorded(t, "info-import", c.Do("member", "GET", "/v2/info/import", nil))
	recorded(t, "info-stores", c.Do("member", "GET", "/v2/info/stores", nil))
	recorded(t, "info-stores-detail", c.Do("admin", "GET", "/v2/info/stores/detail", nil))
	recorded(t, "info-usage", c.Do("member", "GET", "/v2/info/usage", nil))
	recorded(t, "versions", c.Do("member", "GET", "/versions", nil))
	for _, s := range []string{"image", "images", "member", "members"} {
		recorded(t, "schema-"+s, c.Do("member", "GET", "/v2/schemas/"+s, nil))
	}
}

func recorded(t *testing.T, name string, r glancetest.Reply) {
	t.Helper()
	var got bytes.Buffer
	if err := json.Indent(&got, r.Body, "", "  "); err != nil {
		t.Errorf("%s: %d %s", name, r.Status, r.Body)
		return
	}
	got.WriteByte('\n')
	file := filepath.Join("testdata", "samples", name+".json")
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run the test with -update)", err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s changed (-recorded +now):\n%s", name, diff)
	}
}
