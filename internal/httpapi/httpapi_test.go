package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/authtoken/authtokentest"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/policy"
)

type thing struct {
	Name    string                   `json:"name"`
	Size    int                      `json:"size"`
	Enabled *httpapi.Bool            `json:"enabled"`
	Note    httpapi.Nullable[string] `json:"note"`
}

func newRouter(t *testing.T) *httpapi.Router {
	t.Helper()
	pol, err := policy.New([]policy.Rule{
		{Name: "thing:create", Check: "role:member"},
		{Name: "thing:admin", Check: "role:admin"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rt := httpapi.NewRouter(httpapi.Config{
		Service: "compute", PublicURL: "http://cloud/compute", Policy: pol, StripProject: true,
		Auth:     authtoken.New(authtoken.Config{Validator: authtokentest.Personas()}),
		Versions: &httpapi.MicroversionRange{Type: "compute", Min: httpapi.Microversion{Major: 2, Minor: 1}, Max: httpapi.Microversion{Major: 2, Minor: 93}, LegacyHeader: "X-OpenStack-Nova-API-Version"},
		WriteError: func(w http.ResponseWriter, r *http.Request, e *fault.Error) {
			httpapi.WriteJSON(w, r, e.Kind.Status(), map[string]string{"message": e.Text})
		},
	})
	rt.Handle("POST /v2.1/things", "thing:create", http.StatusCreated, func(r *httpapi.Request) (any, error) {
		if err := r.Enforce(nil); err != nil {
			return nil, err
		}
		var in thing
		if err := r.Decode(&in); err != nil {
			return nil, err
		}
		return map[string]any{"name": in.Name, "null": in.Note.Null, "set": in.Note.Set, "version": r.Version().String()}, nil
	})
	rt.Handle("GET /v2.1/forgotten", "thing:admin", http.StatusOK, func(*httpapi.Request) (any, error) { return map[string]int{"secret": 1}, nil })
	rt.Handle("GET /v2.1/broken", httpapi.Public, http.StatusOK, func(*httpapi.Request) (any, error) {
		return nil, errors.New("password is swordfish")
	})
	rt.Handle("GET /v2.1/panics", httpapi.Public, http.StatusOK, func(*httpapi.Request) (any, error) { panic("boom") })
	return rt
}

func do(t *testing.T, rt http.Handler, method, path, token, body string, headers ...string) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	req := httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(body))
	if token != "" {
		req.Header.Set("X-Auth-Token", token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	rt.ServeHTTP(w, req)
	var out map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatalf("%s %s: body %q: %v", method, path, w.Body, err)
		}
	}
	return w, out
}

func TestBadBodiesNameTheField(t *testing.T) {
	rt := newRouter(t)
	for _, c := range []struct {
		body, contentType string
		status            int
		says              string
	}{
		{`{"name":"a"}`, "", 201, ""},
		{`{"name":"a"}`, "application/json; charset=utf-8", 201, ""},
		{`{"name":"a"}`, "text/plain", 415, "text/plain"},
		{`{"name":1}`, "", 400, "name"},
		{`{"size":"x"}`, "", 400, "size"},
		{`{"size":1e99}`, "", 400, "size"},
		{`{"enabled":"FALSE"}`, "", 400, "FALSE"},
		{`{"enabled":0}`, "", 400, "boolean"},
		{`{"colour":"red"}`, "", 400, "colour"},
		{`{"name":"a"} x`, "", 400, "behind"},
		{`{"name":`, "", 400, "ends too early"},
		{``, "", 400, "empty"},
		{"{\"name\":\"\xff\"}", "", 400, "UTF-8"},
		{`[]`, "", 400, "the body"},
		{`{"name":"` + strings.Repeat("x", httpapi.DefaultMaxBody) + `"}`, "", 413, "larger"},
	} {
		ct := []string{}
		if c.contentType != "" {
			ct = []string{"Content-Type", c.contentType}
		}
		w, out := do(t, rt, "POST", "/v2.1/things", "member", c.body, ct...)
		msg, _ := out["message"].(string)
		if w.Code != c.status || !strings.Contains(msg, c.says) {
			t.Errorf("%.40q: got %d %q, want %d saying %q", c.body, w.Code, msg, c.status, c.says)
		}
	}
}

func TestNullIsToldFromAbsent(t *testing.T) {
	rt := newRouter(t)
	_, out := do(t, rt, "POST", "/v2.1/things", "member", `{"name":"a","note":null}`)
	if out["null"] != true || out["set"] != true {
		t.Errorf("null note: %v", out)
	}
	_, out = do(t, rt, "POST", "/v2.1/things", "member", `{"name":"a"}`)
	if out["set"] != false {
		t.Errorf("absent note: %v", out)
	}
}

func TestEveryRequestIsAuthorised(t *testing.T) {
	rt := newRouter(t)
	for _, c := range []struct {
		method, path, token string
		status              int
	}{
		{"POST", "/v2.1/things", "", 401},
		{"POST", "/v2.1/things", "forged", 401},
		{"POST", "/v2.1/things", strings.Repeat("x", 5000), 401},
		{"POST", "/v2.1/things", "reader", 403},
		{"GET", "/v2.1/forgotten", "admin", 500},
		{"GET", "/v2.1/things", "member", 405},
		{"GET", "/v2.1/nothing", "member", 404},
		{"GET", "/v2.1/nothing", "", 401},
		{"GET", "/v2.1/broken", "", 500},
		{"GET", "/v2.1/panics", "", 500},
	} {
		w, out := do(t, rt, c.method, c.path, c.token, `{"name":"a"}`)
		if w.Code != c.status {
			t.Errorf("%s %s as %q: got %d %v, want %d", c.method, c.path, c.token, w.Code, out, c.status)
		}
		if w.Header().Get("X-Openstack-Request-Id") == "" {
			t.Errorf("%s %s: no request id", c.method, c.path)
		}
		if strings.Contains(w.Body.String(), "swordfish") || out["secret"] != nil {
			t.Errorf("%s %s leaks: %s", c.method, c.path, w.Body)
		}
	}
}

func TestSec34IdentityHeadersFromOutsideMeanNothing(t *testing.T) {
	w, _ := do(t, newRouter(t), "POST", "/v2.1/things", "reader", `{"name":"a"}`,
		"X-Roles", "admin,member", "X-User-Id", "root", "X-Is-Admin-Project", "True", "X-Identity-Status", "Confirmed")
	if w.Code != http.StatusForbidden {
		t.Fatalf("forged identity headers: got %d, want 403", w.Code)
	}
}

func TestMicroversionsAreNegotiated(t *testing.T) {
	rt := newRouter(t)
	for _, c := range []struct{ header, value, want string }{
		{"OpenStack-API-Version", "compute 2.53", "2.53"},
		{"OpenStack-API-Version", "volume 3.1, compute latest", "2.93"},
		{"X-OpenStack-Nova-API-Version", "2.10", "2.10"},
		{"X-Other", "", "2.1"},
	} {
		w, out := do(t, rt, "POST", "/v2.1/things", "member", `{"name":"a"}`, c.header, c.value)
		if out["version"] != c.want || w.Header().Get("Openstack-Api-Version") != "compute "+c.want {
			t.Errorf("%s: %s: got %v, header %q", c.header, c.value, out["version"], w.Header().Get("Openstack-Api-Version"))
		}
	}
	for value, status := range map[string]int{"compute 2.94": 406, "compute 1.9": 406, "compute 2.x": 400, "compute 2.01": 400} {
		if w, _ := do(t, rt, "POST", "/v2.1/things", "member", `{}`, "OpenStack-API-Version", value); w.Code != status {
			t.Errorf("%s: got %d, want %d", value, w.Code, status)
		}
	}
}

func TestProjectInThePathMustBeTheCallers(t *testing.T) {
	rt := newRouter(t)
	if w, _ := do(t, rt, "POST", "/v2.1/"+authtokentest.DemoProject+"/things/", "member", `{"name":"a"}`); w.Code != 201 {
		t.Errorf("own project: %d", w.Code)
	}
	if w, _ := do(t, rt, "POST", "/v2.1/"+authtokentest.OtherProject+"/things", "member", `{"name":"a"}`); w.Code != 400 {
		t.Errorf("foreign project: %d", w.Code)
	}
}

func TestRequestIDIsKeptOnlyInItsForm(t *testing.T) {
	rt := newRouter(t)
	const id = "req-12345678-1234-1234-1234-123456789abc"
	w, _ := do(t, rt, "GET", "/v2.1/nothing", "", "", "X-Openstack-Request-Id", id)
	if got := w.Header().Get("X-Openstack-Request-Id"); got != id {
		t.Errorf("request id %q became %q", id, got)
	}
	w, _ = do(t, rt, "GET", "/v2.1/nothing", "", "", "X-Openstack-Request-Id", "req-<script>")
	if got := w.Header().Get("X-Openstack-Request-Id"); strings.Contains(got, "script") {
		t.Errorf("forged request id came back: %q", got)
	}
}

func TestNULNeverReachesAHandler(t *testing.T) {
	for body, refused := range map[string]bool{
		`{"a": "x\u0000"}`: true, `{"\u0000": 1}`: true, `{"a": "\\\u0000"}`: true, `{"a": "\\u0000"}`: false, `{"a": "\u0001"}`: false,
	} {
		var v map[string]any
		if err := httpapi.DecodeJSON([]byte(body), &v, true); (err != nil) != refused {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestStringsAreNoLongerThanAColumn(t *testing.T) {
	long := strings.Repeat("x", 1<<16-1)
	for body, refused := range map[string]bool{
		`{"a": "` + long + `"}`: false, `{"a": "` + long + `x"}`: true, `{"a": "` + long + `", "b": "\"` + long[1:] + `"}`: false,
		`{"a": "` + strings.Repeat(`\u0041`, 40_000) + `"}`: false, `{"a": [` + strings.Repeat("1,", 60_000) + `1]}`: false,
	} {
		var v map[string]any
		if err := httpapi.DecodeJSON([]byte(body), &v, true); (err != nil) != refused {
			t.Errorf("%.20s… of %d bytes: %v", body, len(body), err)
		}
	}
}
