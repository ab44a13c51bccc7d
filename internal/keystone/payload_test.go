package keystone

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hastack/hastack/internal/ids"
)

func drawPayload(t *rapid.T) *payload {
	id := rapid.OneOf(
		rapid.StringMatching(`[0-9a-f]{32}`),
		rapid.SampledFrom([]string{"default", "x", strings.Repeat("G", 64), strings.Repeat("F", 32)}),
	)
	p := &payload{
		UserID:    id.Draw(t, "user"),
		Scope:     scopeKind(rapid.IntRange(0, int(systemScope)).Draw(t, "scope")),
		IssuedAt:  time.UnixMicro(rapid.Int64Range(0, 1<<52).Draw(t, "issued")).UTC(),
		ExpiresAt: time.UnixMicro(rapid.Int64Range(0, 1<<52).Draw(t, "expires")).UTC(),
	}
	for bits := rapid.IntRange(1, 1<<len(methodNames)-1).Draw(t, "methods"); len(p.Methods) == 0; {
		for i, m := range methodNames {
			if bits&(1<<i) != 0 {
				p.Methods = append(p.Methods, m)
			}
		}
	}
	if p.Scope == projectScope || p.Scope == domainScope {
		p.ScopeID = id.Draw(t, "scope id")
	}
	if rapid.Bool().Draw(t, "app cred") {
		p.AppCredID = id.Draw(t, "app cred id")
	}
	for range rapid.IntRange(1, 2).Draw(t, "audit ids") {
		p.AuditIDs = append(p.AuditIDs, newAuditID())
	}
	return p
}

func TestPayloadDecodesToItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawPayload(t)
		got, err := decodePayload(want.encode())
		if err != nil {
			t.Fatalf("%+v: %v", want, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

func TestCutPayloadIsRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawPayload(t).encode()
		if _, err := decodePayload(b[:rapid.IntRange(0, len(b)-1).Draw(t, "length")]); err == nil {
			t.Fatal("a cut payload was read")
		}
		if _, err := decodePayload(append(slices.Clone(b), 0)); err == nil {
			t.Fatal("a payload with more behind it was read")
		}
	})
}

func FuzzDecodePayload(f *testing.F) {
	f.Add((&payload{UserID: ids.Hex(), Methods: []string{methodPassword}, AuditIDs: []string{newAuditID()}}).encode())
	f.Add((&payload{UserID: "default", Methods: []string{methodToken}, Scope: domainScope, ScopeID: "d", AuditIDs: []string{newAuditID(), newAuditID()}}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePayload(b)
		if err != nil {
			return
		}
		again, err := decodePayload(p.encode())
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%x reads as %+v and then as %+v, %v", b, p, again, err)
		}
	})
}
