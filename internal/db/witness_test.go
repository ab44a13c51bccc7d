package db

import "testing"

func TestWitness(t *testing.T) {
	var w witness
	if w.vouches("a") {
		t.Error("nobody was there, and it vouched")
	}
	first, second := w.opened("a"), w.opened("a")
	if !w.vouches("a") || w.vouches("b") {
		t.Error("two connections to a vouch for a alone")
	}
	w.closed(first)
	if !w.vouches("a") {
		t.Error("one connection is left, and does not vouch")
	}
	w.closed(second)
	if w.vouches("a") {
		t.Error("no connection is left, and it vouches")
	}

	old := w.opened("a")
	moved := w.opened("b")
	if w.vouches("a") || !w.vouches("b") {
		t.Error("the writer moved to b: b alone is vouched for")
	}
	w.closed(old)
	w.failed(old)
	if !w.vouches("b") {
		t.Error("what became of the connection to a says nothing of b")
	}
	beside := w.opened("b")
	w.failed(moved)
	if w.vouches("b") {
		t.Error("a connection failed, and the one beside it vouches")
	}
	back := w.opened("b")
	w.closed(beside)
	if !w.vouches("b") {
		t.Error("a connection from before the failure took the vouching of a later one")
	}
	w.closed(back)
	if w.vouches("b") {
		t.Error("no connection is left, and it vouches")
	}
}
