package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/config"
)

// client speaks JSON over kept-alive connections and does as little else as
// possible: it shares the processors with what it measures.
type client struct {
	base  string // http://127.0.0.1:5000
	http  *http.Client
	token string
}

func newClient(authURL string) *client {
	base, _, _ := strings.Cut(authURL, "/identity/")
	return &client{base: base, http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
}

// do sends body as JSON (nil for none, []byte as it is) and reads the reply
// into out, if that is not nil.
func (c *client) do(ctx context.Context, method, path string, body, out any, headers ...string) (http.Header, error) {
	var in io.Reader
	kind := "application/json"
	switch body := body.(type) {
	case nil:
	case []byte:
		in, kind = bytes.NewReader(body), "application/octet-stream"
	default:
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, in)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("X-Auth-Token", c.token)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	reply, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, bytes.TrimSpace(reply[:min(len(reply), 300)]))
	}
	if out != nil {
		if err := json.Unmarshal(reply, out); err != nil {
			return nil, fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
	return res.Header, nil
}

type object = map[string]any

// login asks for a token of a project; it does not keep it.
func (c *client) login(ctx context.Context, user string, password config.Secret, project string) (token, projectID string, err error) {
	domain := object{"id": "default"}
	body := object{"auth": object{
		"identity": object{"methods": []string{"password"}, "password": object{
			"user": object{"name": user, "password": password.Reveal(), "domain": domain}}},
		"scope": object{"project": object{"name": project, "domain": domain}}}}
	var out struct {
		Token struct{ Project struct{ ID string } }
	}
	h, err := c.do(ctx, "POST", "/identity/v3/auth/tokens", body, &out)
	if err != nil {
		return "", "", err
	}
	return h.Get("X-Subject-Token"), out.Token.Project.ID, nil
}

// counters reads the figures of /metrics whose names begin with hastack_ and
// have no labels.
func (c *client) counters(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", c.base+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	m := map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || !strings.HasPrefix(name, "hastack_") || strings.Contains(name, "{") {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			m[name] = v
		}
	}
	return m, lines.Err()
}

// cpu is the processor time that a process has used, user and system.
func cpu(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStat(string(b))
}

// parseStat reads fields 14 and 15 of /proc/PID/stat, in ticks of 10 ms. The
// name in parentheses may hold anything.
func parseStat(stat string) (time.Duration, error) {
	i := strings.LastIndexByte(stat, ')')
	f := strings.Fields(stat[i+1:])
	if i < 0 || len(f) < 13 {
		return 0, errors.New("unreadable /proc/PID/stat")
	}
	var sum int64
	for _, s := range f[11:13] {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * 10 * time.Millisecond, nil
}

// memory is the resident memory of a process in MiB.
func memory(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024, err
		}
	}
	return 0, errors.New("no VmRSS in /proc/PID/status")
}
