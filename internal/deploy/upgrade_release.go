package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/topology"
)

// A move is the last upgrade, as the cluster directory remembers it.
type move struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Done   bool   `json:"done"`
	Undone bool   `json:"undone"`
}

func moveFile(dir string) string { return filepath.Join(dir, "upgrade.json") }

func loadMove(dir string) (*move, error) {
	b, err := os.ReadFile(moveFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var m move
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return nil, fmt.Errorf("read the last upgrade: %w", err)
	}
	return &m, nil
}

func saveMove(dir string, m *move) error {
	b, err := json.Marshal(m)
	if err == nil {
		err = config.WriteFile(moveFile(dir), append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember the upgrade: %w", err)
	}
	return nil
}

// planMove finds what runs now. An upgrade to the same release that was cut off
// knows what ran before it.
func (c *Context) planMove(ctx context.Context) (*move, error) {
	last, err := loadMove(c.Cluster.Path)
	if err != nil {
		return nil, err
	}
	if last != nil && last.To == c.Release && !last.Done && !last.Undone {
		return last, nil
	}
	order := c.moveOrder()
	runs := make([]string, len(order))
	index := map[string]int{}
	for i, s := range order {
		index[s.Name] = i
	}
	err = c.Everywhere(ctx, order, func(ctx context.Context, s *topology.Server) error {
		out, err := c.Run(ctx, s, "basename \"$(readlink "+current+")\"", nil)
		runs[index[s.Name]] = strings.TrimSpace(string(out))
		if err == nil && runs[index[s.Name]] == "" {
			err = fmt.Errorf("no release is installed: deploy it first (hastack deploy)")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		if r != c.Release {
			return &move{From: r, To: c.Release}, nil
		}
	}
	return nil, fmt.Errorf("every server runs %s already", c.Release)
}

// kept is where the cluster directory keeps the binary of a release, so that a
// server that was lost meanwhile can go back too.
func (c *Context) kept(release string) string {
	return filepath.Join(c.Cluster.Path, "releases", release, "hastack")
}

func (c *Context) keepOwn() error { return c.keep(c.Release, c.binary.content) }

func (c *Context) keep(release string, content []byte) error {
	path := c.kept(release)
	if st, err := os.Stat(path); err == nil && st.Size() == int64(len(content)) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep release %s: %w", release, err)
	}
	if err := config.WriteFile(path, content, 0o700); err != nil {
		return fmt.Errorf("keep release %s: %w", release, err)
	}
	return nil
}

// withRelease is the context with another release, which is taken from the
// cluster directory or from a server that has it.
func (c *Context) withRelease(ctx context.Context, release string) (*Context, error) {
	i := strings.LastIndex(release, "-")
	if i < 0 {
		return nil, fmt.Errorf("%q is no name of a release", release)
	}
	other := *c
	if err := other.LoadBinary(c.kept(release), release[:i]); err == nil && other.Release == release {
		return &other, nil
	}
	var errs []error
	for _, s := range c.Topology.Servers {
		b, err := c.Run(ctx, s, "cat "+releases+release+"/hastack", nil)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if err := c.keep(release, b); err != nil {
			return nil, err
		}
		if err := other.LoadBinary(c.kept(release), release[:i]); err != nil {
			return nil, err
		}
		if other.Release == release {
			return &other, nil
		}
		errs = append(errs, fmt.Errorf("%s: the binary of release %s is damaged", s.Name, release))
	}
	return nil, fmt.Errorf("release %s is on no server that answers: %w", release, errors.Join(errs...))
}

// exercise sends real requests to a control server's own services: a log-in and
// a list from each API.
func exercise(ctx context.Context, c *Context, s *topology.Server) error {
	if !s.Has(topology.RoleControl) {
		return nil
	}
	client := c.Cluster.HTTPClient(15 * time.Second)
	defer client.CloseIdleConnections()
	base := func(service, path string) string {
		return "https://" + net.JoinHostPort(s.Management().String(), strconv.Itoa(portOf(service))) + path
	}
	domain := map[string]string{"name": "Default"}
	body, err := json.Marshal(map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{
			"user": map[string]any{"name": "admin", "domain": domain, "password": c.Cluster.Secrets.AdminPassword.Reveal()}}},
		"scope": map[string]any{"project": map[string]any{"name": "admin", "domain": domain}},
	}})
	if err != nil {
		return err
	}
	resp, err := request(ctx, client, http.MethodPost, base("keystone", "/identity/v3/auth/tokens"), "", body)
	if err != nil {
		return fmt.Errorf("log in at keystone: %w", err)
	}
	token := resp.Get("X-Subject-Token")
	for service, path := range map[string]string{
		"nova-api": "/compute/v2.1/servers?limit=1", "neutron-server": "/network/v2.0/networks?limit=1",
		"glance-api": "/image/v2/images?limit=1", "placement": "/placement/resource_providers?name=none",
	} {
		if _, err := request(ctx, client, http.MethodGet, base(service, path), token, nil); err != nil {
			return fmt.Errorf("ask %s: %w", service, err)
		}
	}
	return nil
}

// request does one request and returns the answer's header; only 2xx is good.
func request(ctx context.Context, client *http.Client, method, url, token string, body []byte) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("X-Auth-Token", token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return nil, errors.New(resp.Status)
	}
	return resp.Header, nil
}
