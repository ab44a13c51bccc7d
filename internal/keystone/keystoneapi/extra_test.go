package keystoneapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/keystone/keystonetest"
)

func TestAdditionalAttributesAreBoundedTogether(t *testing.T) {
	c := keystonetest.New(t)
	body := func(n int) map[string]any {
		p := map[string]any{"name": "bounded"}
		for _, k := range []string{"a", "b", "c", "d"} {
			p[k] = strings.Repeat("x", n)
		}
		return map[string]any{"project": p}
	}
	if r := c.Do("POST", "/projects", c.Admin(), body(16<<10)); r.Status != http.StatusBadRequest {
		t.Errorf("64 KiB of attributes: %d, want 400", r.Status)
	}
	if r := c.Do("POST", "/projects", c.Admin(), body(1<<10)); r.Status != http.StatusCreated {
		t.Errorf("4 KiB of attributes: %d, want 201", r.Status)
	}
}
