package glanceapi_test

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/glance"
	"github.com/hastack/hastack/internal/glance/glancetest"
	"github.com/hastack/hastack/internal/ids"
)

// fill adds images of many other projects around those of the caller.
func fill(b *testing.B, c *glancetest.Cloud, others int) {
	b.Helper()
	now := time.Now().UTC()
	var rows []glance.Image
	flush := func() {
		if len(rows) > 0 {
			if _, err := c.DB.NewInsert().Model(&rows).Exec(b.Context()); err != nil {
				b.Fatal(err)
			}
			rows = rows[:0]
		}
	}
	for i := range others {
		name := fmt.Sprint("image", i)
		rows = append(rows, glance.Image{ID: ids.UUID(), Name: &name, Owner: fmt.Sprint("project", i%1000), Status: "active",
			Visibility: "private", Properties: map[string]string{}, Tags: []string{}, Version: 1,
			CreatedAt: now.Add(time.Duration(i) * time.Second), UpdatedAt: now})
		if len(rows) == 500 {
			flush()
		}
	}
	flush()
	for i := range 25 {
		c.Create("member", map[string]any{"name": fmt.Sprint("own", i), "os_distro": "debian", "tags": []string{"a", "b"}})
	}
}

// serve measures one request without the network.
func serve(b *testing.B, c *glancetest.Cloud, method, path string, body []byte, status int) {
	b.Helper()
	before := c.DB.Stats()
	b.ResetTimer()
	for b.Loop() {
		r := httptest.NewRequest(method, path, bytes.NewReader(body))
		r.Header.Set("X-Auth-Token", "member")
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		c.API.ServeHTTP(w, r)
		if w.Code != status {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	after := c.DB.Stats()
	b.ReportMetric(float64(after.Statements-before.Statements)/float64(b.N), "statements/op")
	b.ReportMetric(float64(after.Commits-before.Commits)/float64(b.N), "commits/op")
}

func BenchmarkListImages(b *testing.B) {
	for _, others := range []int{0, 1000, 100_000} {
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) {
			c := glancetest.New(b)
			fill(b, c, others)
			serve(b, c, "GET", "/v2/images", nil, 200)
		})
	}
}

func BenchmarkShowImage(b *testing.B) {
	c := glancetest.New(b)
	id := c.Create("member", map[string]any{"os_distro": "debian"})
	serve(b, c, "GET", "/v2/images/"+id, nil, 200)
}

func BenchmarkCreateImage(b *testing.B) {
	c := glancetest.New(b)
	serve(b, c, "POST", "/v2/images", []byte(`{"name":"x","disk_format":"raw","container_format":"bare"}`), 201)
}

func BenchmarkUpload(b *testing.B) {
	c := glancetest.New(b)
	data := make([]byte, 32<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		id := c.Create("member", nil)
		if r := c.Put("member", id, data); r.Status != 204 {
			b.Fatalf("%d %s", r.Status, r.Body)
		}
	}
}
