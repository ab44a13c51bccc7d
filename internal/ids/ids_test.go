package ids

import "testing"

func TestForms(t *testing.T) {
	if u := UUID(); !IsUUID(u) || u == UUID() {
		t.Fatalf("UUID() = %q", u)
	}
	if h := Hex(); !IsHex(h) || IsUUID(h) {
		t.Fatalf("Hex() = %q", h)
	}
	if r := RequestID(); !IsRequestID(r) {
		t.Fatalf("RequestID() = %q", r)
	}
	if s := Secret(16); len(s) != 32 || s == Secret(16) {
		t.Fatalf("Secret(16) = %q", s)
	}
}

func TestForeignFormsAreRefused(t *testing.T) {
	for _, s := range []string{
		"", "x", "../../etc/passwd", "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}",
		"6ba7b8109dad11d180b400c04fd430c8", "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8",
		"6ba7b810-9dad-11d1-80b4-00c04fd430cg", "6ba7b810-9dad-11d1-80b4-00c04fd430c8\n",
	} {
		if IsUUID(s) {
			t.Errorf("IsUUID(%q) = true", s)
		}
		if IsRequestID("req-" + s) {
			t.Errorf("IsRequestID(req-%q) = true", s)
		}
	}
}
