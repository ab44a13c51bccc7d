// Package placementtest runs Placement inside a test: the real service over a
// database of its own, behind real HTTP, with the personas of authtokentest as
// tokens.
package placementtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/authtoken/authtokentest"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/placement"
	"github.com/hastack/hastack/internal/placement/placementapi"
	"github.com/hastack/hastack/internal/policy"
)

// Latest is the microversion that requests ask for unless they say another.
const Latest = "1.39"

// Cloud is a Placement under test.
type Cloud struct {
	Service *placement.Service
	API     *placementapi.API
	DB      *db.DB
	URL     string

	t testing.TB
}

// New runs a Placement for the length of the test.
func New(t testing.TB) *Cloud { return On(t, dbtest.New(t, placement.Migrations)) }

// On runs another Placement on a database that is migrated.
func On(t testing.TB, d *db.DB) *Cloud {
	t.Helper()
	svc, err := placement.New(placement.Config{}, placement.Deps{DB: d})
	if err != nil {
		t.Fatal(err)
	}
	enforcer, err := policy.New(placement.Rules(), nil)
	if err != nil {
		t.Fatal(err)
	}
	api := placementapi.New(svc, placementapi.Config{
		PublicURL: "http://cloud/placement", AuthURL: "http://cloud/identity", Policy: enforcer,
		Auth: authtoken.New(authtoken.Config{Validator: authtokentest.Personas()}),
	})
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	return &Cloud{Service: svc, API: api, DB: d, URL: server.URL, t: t}
}

// A Reply is what the service answered.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Map is the body as an object; empty if it is none.
func (r Reply) Map() map[string]any {
	m := map[string]any{}
	_ = json.Unmarshal(r.Body, &m)
	return m
}

// Error is the first error of the envelope.
func (r Reply) Error() (detail, code string) {
	var e struct {
		Errors []struct{ Detail, Code string } `json:"errors"`
	}
	if json.Unmarshal(r.Body, &e) != nil || len(e.Errors) == 0 {
		return "", ""
	}
	return e.Errors[0].Detail, e.Errors[0].Code
}

// As sends a request as a persona at a microversion. A body that is not a
// string is sent as JSON.
func (c *Cloud) As(token, microversion, method, path string, body any) Reply {
	c.t.Helper()
	var rd io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		rd = bytes.NewReader([]byte(b))
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		rd = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.URL+path, rd)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", token)
	if microversion != "" {
		req.Header.Set("OpenStack-API-Version", "placement "+microversion)
	}
	if rd != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw := make([]byte, max(resp.ContentLength, 0))
	if _, err := io.ReadFull(resp.Body, raw); err != nil {
		c.t.Fatal(err)
	}
	return Reply{resp.StatusCode, resp.Header, raw}
}

// Do is As for the service user at the latest microversion.
func (c *Cloud) Do(method, path string, body any) Reply {
	c.t.Helper()
	return c.As("service", Latest, method, path, body)
}

// Must is Do that fails the test unless the status is as wanted.
func (c *Cloud) Must(status int, method, path string, body any) Reply {
	c.t.Helper()
	r := c.Do(method, path, body)
	if r.Status != status {
		c.t.Fatalf("%s %s = %d %s, want %d", method, path, r.Status, r.Body, status)
	}
	return r
}

// Host makes a provider with the inventory of a hypervisor and returns its uuid.
func (c *Cloud) Host(name string, vcpus, memoryMB, diskGB int64) string {
	c.t.Helper()
	p, err := c.Service.CreateProvider(c.t.Context(), "", name, "")
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = c.Service.SetInventories(c.t.Context(), p.UUID, p.Generation, []placement.Inventory{
		placement.NewInventory("VCPU", vcpus), placement.NewInventory("MEMORY_MB", memoryMB), placement.NewInventory("DISK_GB", diskGB),
	}, true)
	if err != nil {
		c.t.Fatal(err)
	}
	return p.UUID
}

// Claim is the body of a new server's claim on one provider.
func Claim(provider string, resources map[string]int64) map[string]any {
	return map[string]any{
		"allocations": map[string]any{provider: map[string]any{"resources": resources}},
		"project_id":  authtokentest.DemoProject, "user_id": ids.Hex(),
		"consumer_generation": nil, "consumer_type": "INSTANCE",
	}
}

// CheckSums fails the test unless what is used of every inventory is the sum
// of its allocations and not more than its capacity.
func (c *Cloud) CheckSums() {
	c.t.Helper()
	rows, err := c.DB.QueryContext(c.t.Context(), `SELECT i.provider_uuid, i.resource_class, i.used, i.capacity, COALESCE(SUM(a.used), 0)
		FROM inventories i LEFT JOIN allocations a ON a.provider_uuid = i.provider_uuid AND a.resource_class = i.resource_class
		GROUP BY i.provider_uuid, i.resource_class, i.used, i.capacity`)
	if err != nil {
		c.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var provider, class string
		var used, capacity, sum int64
		if err := rows.Scan(&provider, &class, &used, &capacity, &sum); err != nil {
			c.t.Fatal(err)
		}
		if used != sum || used > capacity {
			c.t.Errorf("%s of %s: used %d, allocated %d, capacity %d", class, provider, used, sum, capacity)
		}
	}
	if err := rows.Err(); err != nil {
		c.t.Fatal(err)
	}
}
