package revert

import (
	"context"
	"errors"
	"slices"
	"testing"
)

func TestFailUndoesLastFirstWhateverHappens(t *testing.T) {
	var got []string
	note := func(name string, err error) func(context.Context) error {
		return func(ctx context.Context) error {
			if ctx.Err() != nil {
				t.Errorf("%s runs with a context that has ended", name)
			}
			got = append(got, name)
			return err
		}
	}
	boom := errors.New("boom")
	s := New(nil)
	s.Push("a", note("a", nil))
	s.Push("b", note("b", boom))
	s.Push("c", func(context.Context) error { got = append(got, "c"); panic("c") })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Fail(ctx); !errors.Is(err, boom) {
		t.Errorf("Fail() = %v", err)
	}
	if want := []string{"c", "b", "a"}; !slices.Equal(got, want) {
		t.Errorf("undone %v, want %v", got, want)
	}
	if err := s.Fail(ctx); err != nil || len(got) != 3 {
		t.Errorf("a second Fail: %v, %v", err, got)
	}
}

func TestSuccessKeepsTheWork(t *testing.T) {
	s := New(nil)
	s.Push("a", func(context.Context) error { t.Error("undone"); return nil })
	s.Success()
	if err := s.Fail(t.Context()); err != nil {
		t.Error(err)
	}
}
