package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/status"
	"github.com/hastack/hastack/internal/topology"
)

// nowhere is a network without a way.
type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route to host")
}

func lost(t *testing.T) *status.Source {
	t.Helper()
	top, err := topology.Load("../../examples/three.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return status.New(top, &http.Client{Transport: nowhere{}}, config.NewSecret("x"), clock.System)
}

// watched is an output that ends the watch after its second screen.
type watched struct {
	bytes.Buffer
	screens int
	end     context.CancelFunc
}

func (w *watched) Write(b []byte) (int, error) {
	if w.screens++; w.screens == 2 {
		w.end()
	}
	return w.Buffer.Write(b)
}

func TestWatchShowsTheClusterUntilItIsInterrupted(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		out := &watched{end: cancel}
		if err := (&app{out: out}).watchStatus(ctx, lost(t), time.Millisecond, asJSON); err != nil {
			t.Errorf("interrupted: %v", err)
		}
		if out.screens != 2 || strings.Contains(out.String(), "\x1b") {
			t.Errorf("%d screens:\n%s", out.screens, out.String())
		}
		want := "! node01"
		if asJSON {
			want = `"healthy":false`
			if err := json.NewDecoder(strings.NewReader(out.String())).Decode(new(status.Report)); err != nil {
				t.Error(err)
			}
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
}

func TestStatusIsCalledWronglyOrHasNoCluster(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"status", "extra"}, 2, "usage"},
		{[]string{"status", "--every", "1ms"}, 2, "at least"},
		{[]string{"status", "--timeout", "1ms"}, 2, "at least"},
		{[]string{"status"}, 1, "deploy one"},
	} {
		var out, errs bytes.Buffer
		if code := Main(append(c.args, "--state-dir", t.TempDir()), &out, &errs); code != c.code || !strings.Contains(errs.String(), c.says) {
			t.Errorf("%v: exit code %d, %s", c.args, code, errs.String())
		}
	}
}
