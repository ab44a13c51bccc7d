package policy

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hastack/hastack/internal/fault"
)

func one(t *testing.T, check string) *Enforcer {
	t.Helper()
	e, err := New([]Rule{
		{Name: "context_is_admin", Check: "role:admin"},
		{Name: "owner", Check: "user_id:%(user_id)s"},
		{Name: "x", Check: check},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestChecksDecideAsOsloPolicyDoes(t *testing.T) {
	caller := Credentials{UserID: "u1", ProjectID: "p1", Roles: []string{"Member", "reader"}, ServiceRoles: []string{"service"}}
	admin := Credentials{UserID: "u2", SystemScope: "all", Roles: []string{"admin"}}
	target := Target{
		"user_id": "u1", "project_id": "p1", "shared": true, "owner": nil, "n": 5,
		"target":       map[string]any{"user": map[string]any{"id": "u1", "domain_id": nil}},
		"device_owner": "network:dhcp",
		"network:id":   "p1",
	}
	for _, c := range []struct {
		check string
		creds Credentials
		want  bool
	}{
		{"", caller, true},
		{"@", caller, true},
		{"!", caller, false},
		{"role:member", caller, true},
		{"role:admin", caller, false},
		{"not role:admin", caller, true},
		{"rule:owner", caller, true},
		{"rule:owner", admin, false},
		{"role:admin or rule:owner", admin, true},
		{"role:admin and system_scope:all", admin, true},
		{"role:member and system_scope:all", caller, false},
		{"role:nobody or role:member and project_id:%(project_id)s", caller, true},
		{"role:member or role:reader and !", caller, true},
		{"(role:member or role:reader) and !", caller, false},
		{"((role:member))", caller, true},
		{"user_id:%(target.user.id)s", caller, true},
		{"user_id:%(target.user.name)s", caller, false},
		{"project_id:%(project_id)s", admin, false},
		{"tenant_id:%(network:id)s", caller, true},
		{"None:%(target.user.domain_id)s", caller, true},
		{"None:%(user_id)s", caller, false},
		{"True:%(shared)s", caller, true},
		{"5:%(n)s", caller, true},
		{"'u1':%(user_id)s", caller, true},
		{"is_admin:True", caller, false},
		{"is_admin:True", admin, true},
		{"is_admin:1", admin, true},
		{"is_admin:False", caller, true},
		{"service_roles:service", caller, true},
		{"service_roles:service", admin, false},
		{"field:networks:shared=True", caller, true},
		{"field:port:device_owner=~^network:", caller, true},
		{"field:port:device_owner=compute:", caller, false},
		{"whatever:%(user_id)s", caller, false},
		{"domain_id:None", caller, false},
		{"NOT role:admin AND role:reader", caller, true},
	} {
		if got := one(t, c.check).Allowed("x", c.creds, target); got != c.want {
			t.Errorf("%q for %v: %v, want %v", c.check, c.creds, got, c.want)
		}
	}
}

func TestCallerWithoutProjectMatchesNoTargetWithoutProject(t *testing.T) {
	e := one(t, "project_id:%(project_id)s")
	if e.Allowed("x", Credentials{UserID: "u"}, Target{"project_id": ""}) {
		t.Error("two absent projects matched")
	}
}

func TestUnknownRuleIsDenied(t *testing.T) {
	e := one(t, "@")
	err := e.Enforce("nothing:registered", Credentials{Roles: []string{"admin"}}, nil)
	if !fault.Is(err, fault.Forbidden) {
		t.Fatalf("got %v, want Forbidden", err)
	}
}

func TestScopesAreEnforcedWhateverTheCheckSays(t *testing.T) {
	e, err := New([]Rule{{Name: "s", Check: "@", Scopes: []string{"system"}}, {Name: "p", Check: "@", Scopes: []string{"project"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	system, domain, project := Credentials{SystemScope: "all"}, Credentials{DomainID: "d"}, Credentials{ProjectID: "p"}
	for _, c := range []struct {
		name  string
		creds Credentials
		want  bool
	}{{"s", system, true}, {"s", domain, false}, {"s", project, false}, {"p", project, true}, {"p", system, false}} {
		if got := e.Allowed(c.name, c.creds, nil); got != c.want {
			t.Errorf("%s with %v: %v", c.name, c.creds, got)
		}
	}
}

func TestOverridesReplaceChecksAndKeepScopes(t *testing.T) {
	over, err := ParseOverrides([]byte("\"a:b\": \"rule:mine\"\nmine: role:boss\n"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := New([]Rule{{Name: "a:b", Check: "!", Scopes: []string{"project"}}}, over)
	if err != nil {
		t.Fatal(err)
	}
	boss := Credentials{ProjectID: "p", Roles: []string{"boss"}}
	if !e.Allowed("a:b", boss, nil) {
		t.Error("override was not applied")
	}
	boss.SystemScope = "all"
	if e.Allowed("a:b", boss, nil) {
		t.Error("override removed the scope check")
	}
	if _, err := ParseOverrides([]byte("a: [[role:x]]")); err == nil {
		t.Error("list form was accepted")
	}
}

func TestBadRulesAreRefusedAtStart(t *testing.T) {
	for name, rules := range map[string][]Rule{
		"circle":      {{Name: "a", Check: "rule:b"}, {Name: "b", Check: "not (role:x or rule:a)"}},
		"self":        {{Name: "a", Check: "rule:a"}},
		"admin":       {{Name: "context_is_admin", Check: "is_admin:True or role:admin"}},
		"dangling":    {{Name: "a", Check: "rule:zzz"}},
		"twice":       {{Name: "a"}, {Name: "a"}},
		"no colon":    {{Name: "a", Check: "admin"}},
		"open":        {{Name: "a", Check: "(role:a"}},
		"close":       {{Name: "a", Check: "role:a)"}},
		"operator":    {{Name: "a", Check: "role:a and"}},
		"leading":     {{Name: "a", Check: "or role:a"}},
		"adjacent":    {{Name: "a", Check: "role:a role:b"}},
		"http":        {{Name: "a", Check: "http://evil/"}},
		"bad percent": {{Name: "a", Check: "user_id:%(x"}},
		"bad field":   {{Name: "a", Check: "field:x"}},
		"deep":        {{Name: "a", Check: strings.Repeat("(", 1000) + "@" + strings.Repeat(")", 1000)}},
		"deep not":    {{Name: "a", Check: strings.Repeat("not ", 1000) + "@"}},
	} {
		if _, err := New(rules, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func drawCheck(t *rapid.T, depth int) Check {
	word := rapid.StringMatching(`[a-z_.]{1,8}`)
	tmpl := func() template {
		s := rapid.SampledFrom([]string{"all", "%(user_id)s", "%(target.user.id)s", "a%%b", "x%(k)s-y"}).Draw(t, "match")
		tm, err := newTemplate(s)
		if err != nil {
			t.Fatal(err)
		}
		return tm
	}
	n := 8
	if depth > 4 {
		n = 5
	}
	switch rapid.IntRange(0, n-1).Draw(t, "kind") {
	case 0:
		return constant(rapid.Bool().Draw(t, "constant"))
	case 1:
		return ruleRef(word.Draw(t, "rule"))
	case 2:
		return role{tmpl()}
	case 3:
		return attribute{"k_" + word.Draw(t, "attr"), tmpl()}
	case 4:
		return attribute{rapid.SampledFrom([]string{"None", "True", "'q'", "5"}).Draw(t, "const"), tmpl()}
	case 5:
		return not{drawCheck(t, depth+1)}
	}
	list := make([]Check, rapid.IntRange(2, 4).Draw(t, "n"))
	for i := range list {
		list[i] = drawCheck(t, depth+1)
	}
	if rapid.Bool().Draw(t, "and") {
		return and(list)
	}
	return or(list)
}

func TestPrintedCheckParsesToItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawCheck(t, 0)
		got, err := Parse(want.String())
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s parsed to %s", want, got)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "@", "role:admin or (user_id:%(user_id)s and not is_admin:True)", "field:a:b=~x", "((", "not not !", "%(a)s:b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(c.String())
		if err != nil {
			t.Fatalf("%q printed as %q: %v", s, c, err)
		}
		if again.String() != c.String() {
			t.Fatalf("%q printed as %q then %q", s, c, again)
		}
		c.eval(&evaluation{creds: &Credentials{}, target: Target{}})
	})
}

func BenchmarkEnforce(b *testing.B) {
	e, err := New([]Rule{
		{Name: "admin", Check: "role:admin"},
		{Name: "x", Check: "rule:admin or (role:member and project_id:%(project_id)s)", Scopes: []string{"project"}},
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	c, t := Credentials{ProjectID: "p", Roles: []string{"member", "reader"}}, Target{"project_id": "p"}
	b.ReportAllocs()
	for b.Loop() {
		if !e.Allowed("x", c, t) {
			b.Fatal("denied")
		}
	}
}
