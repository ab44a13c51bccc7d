package keystone

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("key %s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
	return out
}

func TestKeysRotateAsKeystonesDo(t *testing.T) {
	d := KeyDir{Path: filepath.Join(t.TempDir(), "keys"), MaxActive: 3}
	first, err := d.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"0", "1"}, {"0", "1", "2"}, {"0", "2", "3"}, {"0", "3", "4"}} {
		if i > 0 {
			if err := d.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := names(t, d.Path); !reflect.DeepEqual(got, want) {
			t.Fatalf("after %d rotations: %v, want %v", i, got, want)
		}
	}
	if err := os.RemoveAll(d.Path); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Keys(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := d.Keys(t.Context())
	if err != nil || reflect.DeepEqual(first, second) {
		t.Errorf("a new repository has the old keys (%v)", err)
	}
}

func TestTokensOutliveRotationsUntilTheirKeyIsDropped(t *testing.T) {
	c := clock.NewFake(time.Unix(1e9, 0))
	r := &keyRing{repo: KeyDir{Path: t.TempDir(), MaxActive: 3}, clock: c}
	// The other node has the directory too and learns of a rotation by itself.
	other := &keyRing{repo: r.repo, clock: c}
	open := func(k *keyRing, tok string) string {
		t.Helper()
		msg, err := k.open(t.Context(), tok)
		if err != nil {
			t.Fatal(err)
		}
		return string(msg)
	}
	tok, err := r.seal(t.Context(), []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if got := open(other, tok); got != "hello" {
		t.Fatalf("other node reads %q", got)
	}
	for rotations, want := range []string{"hello", "hello", ""} {
		if got := open(other, tok); got != want {
			t.Errorf("after %d rotations: %q, want %q", rotations, got, want)
		}
		if err := r.repo.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Advance(keyMaxAge)
		fresh, err := r.seal(t.Context(), []byte("new"))
		if err != nil {
			t.Fatal(err)
		}
		if got := open(other, fresh); got != "new" {
			t.Errorf("token of the new key: %q", got)
		}
	}
}

func TestStagedKeyOpensTokensBeforeTheOtherNodeRotates(t *testing.T) {
	c := clock.NewFake(time.Unix(1e9, 0))
	dir := t.TempDir()
	lagging := &keyRing{repo: KeyDir{Path: dir}, clock: c}
	if _, err := lagging.keys(t.Context(), keyMaxAge); err != nil {
		t.Fatal(err)
	}
	ahead := &keyRing{repo: KeyDir{Path: dir}, clock: c}
	if err := ahead.repo.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	tok, err := ahead.seal(t.Context(), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	// lagging still has the keys from before the rotation in memory.
	if msg, err := lagging.open(t.Context(), tok); err != nil || string(msg) != "x" {
		t.Errorf("staged key does not open: %q, %v", msg, err)
	}
}

func TestRotationThatWasCutShortIsRepeated(t *testing.T) {
	d := KeyDir{Path: t.TempDir()}
	if _, err := d.Keys(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(d.Path, "0"), filepath.Join(d.Path, "2")); err != nil {
		t.Fatal(err)
	}
	if err := d.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := names(t, d.Path); !reflect.DeepEqual(got, []string{"0", "2", "3"}) {
		t.Errorf("keys are %v", got)
	}
}

func TestKeysThatAreNotKeysStopTheStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "0"), []byte("not a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (KeyDir{Path: dir}).Keys(t.Context()); err == nil {
		t.Error("a bad key was read")
	}
}

func FuzzOpenToken(f *testing.F) {
	r := &keyRing{repo: KeyDir{Path: f.TempDir()}, clock: clock.System}
	tok, err := r.seal(f.Context(), []byte("x"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tok)
	f.Add("")
	f.Add("gAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		if msg, err := r.open(t.Context(), s); err != nil || msg != nil && string(msg) != "x" {
			t.Fatalf("%q opens to %q, %v", s, msg, err)
		}
	})
}
