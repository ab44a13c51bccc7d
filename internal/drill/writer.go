package drill

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// A kind of write that is cheap, goes through a commit of the database, and can
// be done twice: none of the names is unique to the cloud, so that a write that
// the cloud repeated by itself is found.
type writeKind struct {
	name   string
	path   string
	body   func(w *writer, name string) any
	list   func(ctx context.Context, w *writer, c *cloud) ([]written, error)
	remove string // path of one, with %s for its id
}

// written is a row that was read back.
type written struct{ id, name string }

func writeKinds() []writeKind {
	return []writeKind{
		{"network", "/network/v2.0/security-groups", func(w *writer, name string) any {
			return object{"security_group": object{"name": name, "description": w.run}}
		}, listSecurityGroups, "/network/v2.0/security-groups/%s"},
		{"compute", "/compute/v2.1/os-server-groups", func(_ *writer, name string) any {
			return object{"server_group": object{"name": name, "policies": []string{"affinity"}}}
		}, listServerGroups, "/compute/v2.1/os-server-groups/%s"},
		{"identity", "/identity/v3/credentials", func(w *writer, name string) any {
			return object{"credential": object{"type": w.run, "blob": name, "user_id": w.cloud.session.User(),
				"project_id": w.cloud.session.Project()}}
		}, listCredentials, "/identity/v3/credentials/%s"},
		{"image", "/image/v2/images", func(w *writer, name string) any {
			return object{"name": name, "tags": []string{w.run}}
		}, listImages, "/image/v2/images/%s"},
	}
}

// A writer makes the acknowledged writes of a run.
type writer struct {
	run    string // unique to the run: "drill-20261120-1a2b"
	cloud  *cloud
	ledger *Ledger
	kinds  []writeKind
}

// writeTimeout is longer than the reads': a commit may wait for a new writer.
const writeTimeout = 2 * time.Second

// probes are one probe a kind of write. every is the interval of each. round
// makes names unique.
func (w *writer) probes(round string, every time.Duration) []*probe {
	var out []*probe
	for _, k := range w.kinds {
		c := w.cloud.own()
		out = append(out, &probe{name: "write " + k.name, group: "writes", every: every, timeout: writeTimeout, lanes: 16, write: true,
			try: func(ctx context.Context, n, attempt int) error {
				return w.write(ctx, c, k, fmt.Sprintf("%s/%s/%s/%d", w.run, k.name, round, n), attempt)
			}})
	}
	return out
}

// write sends one write once. It is repeated only if the first try never left.
func (w *writer) write(ctx context.Context, c *cloud, k writeKind, name string, attempt int) error {
	if attempt == 0 {
		if err := w.ledger.record(name, stateIntent); err != nil {
			return errors.Join(err, errNoRepeat)
		}
	}
	_, err := c.do(ctx, "POST", k.path, k.body(w, name), nil)
	state := stateOf(err)
	if e := w.ledger.record(name, state); e != nil {
		return errors.Join(e, errNoRepeat)
	}
	if err != nil && state != stateUnsent {
		return fmt.Errorf("%w (%w)", err, errNoRepeat)
	}
	return err
}

func stateOf(err error) string {
	switch {
	case err == nil, errors.Is(err, errSilentRepeat):
		return stateAcked
	case errors.Is(err, errNotSent):
		return stateUnsent
	case refused(err):
		return stateRefused
	}
	return stateUnknown
}

// verify reads everything of the run back and judges it. Reading is repeated:
// it is no measurement.
func (w *writer) verify(ctx context.Context, clk waiter) (*Verdict, error) {
	rows, err := w.readBack(ctx, clk)
	if err != nil {
		return nil, err
	}
	found := map[string]int{}
	for _, list := range rows {
		for _, r := range list {
			found[r.name]++
		}
	}
	return w.ledger.judge(found, func(name string) bool { return strings.HasPrefix(name, w.run+"/") }), nil
}

// readBack lists what there is of the run, by kind.
func (w *writer) readBack(ctx context.Context, clk waiter) (map[string][]written, error) {
	rows := map[string][]written{}
	for _, k := range w.kinds {
		err := retried(ctx, clk, 5, 2*time.Second, func(ctx context.Context) error {
			list, err := k.list(ctx, w, w.cloud.own())
			rows[k.name] = list
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read back the %s writes: %w", k.name, err)
		}
	}
	return rows, nil
}

// clean deletes what the run wrote, until ctx ends, and returns how many rows
// are left.
func (w *writer) clean(ctx context.Context, clk waiter) (left int, err error) {
	rows, err := w.readBack(ctx, clk)
	if err != nil {
		return 0, err
	}
	for _, k := range w.kinds {
		c := w.cloud.own()
		for _, r := range rows[k.name] {
			if ctx.Err() == nil {
				if _, e := c.do(ctx, "DELETE", fmt.Sprintf(k.remove, r.id), nil, nil); e == nil {
					continue
				} else if err == nil {
					err = e
				}
			}
			left++
		}
	}
	return left, err
}

const pageSize = 1000

func listSecurityGroups(ctx context.Context, w *writer, c *cloud) ([]written, error) {
	var out []written
	for marker := ""; ; {
		var page struct {
			SecurityGroups []struct{ ID, Name string } `json:"security_groups"`
		}
		q := url.Values{"description": {w.run}, "fields": {"id", "name"}, "limit": {fmt.Sprint(pageSize)}, "sort_key": {"id"}, "sort_dir": {"asc"}}
		if marker != "" {
			q.Set("marker", marker)
		}
		if _, err := read(c.do(ctx, "GET", "/network/v2.0/security-groups?"+q.Encode(), nil, &page)); err != nil {
			return nil, err
		}
		for _, g := range page.SecurityGroups {
			out = append(out, written{g.ID, g.Name})
			marker = g.ID
		}
		if len(page.SecurityGroups) < pageSize {
			return out, nil
		}
	}
}

func listServerGroups(ctx context.Context, w *writer, c *cloud) ([]written, error) {
	var out []written
	seen := map[string]bool{}
	for offset := 0; ; offset += pageSize {
		var page struct {
			ServerGroups []struct{ ID, Name string } `json:"server_groups"`
		}
		if _, err := read(c.do(ctx, "GET", fmt.Sprintf("/compute/v2.1/os-server-groups?limit=%d&offset=%d", pageSize, offset), nil, &page)); err != nil {
			return nil, err
		}
		for _, g := range page.ServerGroups {
			// Paging by offset may show a row on two pages.
			if strings.HasPrefix(g.Name, w.run+"/") && !seen[g.ID] {
				seen[g.ID] = true
				out = append(out, written{g.ID, g.Name})
			}
		}
		if len(page.ServerGroups) < pageSize {
			return out, nil
		}
	}
}

func listCredentials(ctx context.Context, w *writer, c *cloud) ([]written, error) {
	var page struct {
		Credentials []struct{ ID, Blob string }
	}
	if _, err := read(c.do(ctx, "GET", "/identity/v3/credentials?type="+url.QueryEscape(w.run), nil, &page)); err != nil {
		return nil, err
	}
	var out []written
	for _, r := range page.Credentials {
		out = append(out, written{r.ID, r.Blob})
	}
	return out, nil
}

func listImages(ctx context.Context, w *writer, c *cloud) ([]written, error) {
	var out []written
	next := "/v2/images?sort=id:asc&limit=" + fmt.Sprint(pageSize) + "&tag=" + url.QueryEscape(w.run)
	for next != "" {
		var page struct {
			Images []struct{ ID, Name string }
			Next   string
		}
		if _, err := read(c.do(ctx, "GET", "/image"+strings.TrimPrefix(next, "/image"), nil, &page)); err != nil {
			return nil, err
		}
		for _, r := range page.Images {
			out = append(out, written{r.ID, r.Name})
		}
		next = page.Next
	}
	return out, nil
}

// read forgives a repeat that the HTTP client made: reading twice is reading.
func read[T any](v T, err error) (T, error) {
	if errors.Is(err, errSilentRepeat) {
		err = nil
	}
	return v, err
}
