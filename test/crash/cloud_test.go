package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"go.yaml.in/yaml/v3"
)

// chosen are the points that HASTACK_CRASH_POINTS matches, all without it.
func chosen(points []string) []string {
	pattern := os.Getenv("HASTACK_CRASH_POINTS")
	if pattern == "" {
		return points
	}
	re := regexp.MustCompile(pattern)
	var out []string
	for _, p := range points {
		if re.MatchString(p) {
			out = append(out, p)
		}
	}
	return out
}

// cloud is a state directory and the process that serves it now.
type cloud struct {
	bin, dir, listen string
	cmd              *exec.Cmd
	exited           chan error
	imageID, netID   string
	auth             gophercloud.AuthOptions
}

func newCloud(t *testing.T, bin, driver string) *cloud {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{bin: bin, dir: filepath.Join(t.TempDir(), "state"), listen: l.Addr().String()}
	_ = l.Close()
	args := []string{"up", "--state-dir", c.dir, "--listen", c.listen, "--driver", driver, "--no-server"}
	if image := os.Getenv("HASTACK_CRASH_IMAGE"); image != "" {
		args = append(args, "--image", image)
	}
	if out, err := exec.CommandContext(t.Context(), bin, args...).CombinedOutput(); err != nil {
		t.Fatalf("up: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		c.kill()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if t.Failed() {
			c.showLog(t)
		}
		if out, err := exec.CommandContext(ctx, bin, "reset", "--yes", "--state-dir", c.dir).CombinedOutput(); err != nil {
			t.Errorf("reset: %v\n%s", err, out)
		}
	})
	c.login(t)
	c.prepare(t)
	if out, err := exec.CommandContext(t.Context(), bin, "down", "--state-dir", c.dir).CombinedOutput(); err != nil {
		t.Fatalf("down: %v\n%s", err, out)
	}
	return c
}

func (c *cloud) showLog(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(c.dir, "log", "hastack.log"))
	if err == nil {
		lines := bytes.Split(b, []byte("\n"))
		t.Logf("log, last lines:\n%s", bytes.Join(lines[max(0, len(lines)-60):], []byte("\n")))
	}
}

// login reads the admin's credentials from the clouds.yaml that up wrote.
func (c *cloud) login(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.dir, "clouds.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Clouds map[string]struct {
			Auth struct {
				URL      string `yaml:"auth_url"`
				Username string `yaml:"username"`
				Password string `yaml:"password"`
				Project  string `yaml:"project_name"`
			} `yaml:"auth"`
		} `yaml:"clouds"`
	}
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	a := doc.Clouds["hastack-admin"].Auth
	c.auth = gophercloud.AuthOptions{
		IdentityEndpoint: a.URL, Username: a.Username, Password: a.Password, DomainName: "Default",
		Scope: &gophercloud.AuthScope{ProjectName: a.Project, DomainName: "Default"},
	}
}

func (c *cloud) provider(ctx context.Context) (*gophercloud.ProviderClient, error) {
	return openstack.AuthenticatedClient(ctx, c.auth)
}

func (c *cloud) compute(ctx context.Context) (*gophercloud.ServiceClient, error) {
	p, err := c.provider(ctx)
	if err != nil {
		return nil, err
	}
	sc, err := openstack.NewComputeV2(p, gophercloud.EndpointOpts{})
	if err == nil {
		sc.Microversion = "2.37"
	}
	return sc, err
}

// prepare finds the image and makes a network for the servers.
func (c *cloud) prepare(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	p, err := c.provider(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ic, err := openstack.NewImageV2(p, gophercloud.EndpointOpts{})
	if err != nil {
		t.Fatal(err)
	}
	page, err := images.List(ic, images.ListOpts{Status: images.ImageStatusActive}).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := images.ExtractImages(page); err == nil && len(found) > 0 {
		c.imageID = found[0].ID
	} else {
		c.imageID = c.uploadImage(t, ic)
	}
	nc, err := openstack.NewNetworkV2(p, gophercloud.EndpointOpts{})
	if err != nil {
		t.Fatal(err)
	}
	c.netID = c.makeNetwork(t, nc)
}

// serve starts the cloud with points armed and waits until it is ready.
func (c *cloud) serve(t *testing.T, failpoints string) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(c.dir, "log", "hastack.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), c.bin, "serve", "all", "--config", filepath.Join(c.dir, "hastack.yaml"), "--state-dir", c.dir)
	c.cmd.Env = append(os.Environ(), "HASTACK_FAILPOINTS="+failpoints)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.exited = make(chan error, 1)
	go func(cmd *exec.Cmd, exited chan error) { exited <- cmd.Wait() }(c.cmd, c.exited)
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		resp, err := http.Get("http://" + c.listen + "/healthcheck")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case err := <-c.exited:
			if strings.Contains(failpoints, "crash") {
				// The point lies on the way of the start itself.
				c.exited <- err
				return
			}
			t.Fatalf("the cloud ended at its start: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatal("the cloud is not ready after 30 s")
}

func (c *cloud) kill() {
	if c.cmd != nil && c.cmd.Process != nil {
		_ = c.cmd.Process.Kill()
	}
}

func (c *cloud) stop(t *testing.T) {
	t.Helper()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.exited:
	case <-time.After(20 * time.Second):
		t.Error("the cloud does not stop on SIGTERM")
		c.kill()
		<-c.exited
	}
}

// awaitCrash waits for the process to die at the armed point.
func (c *cloud) awaitCrash(t *testing.T) {
	t.Helper()
	select {
	case err := <-c.exited:
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 137 {
			t.Fatalf("the process ended with %v, want the crash's 137", err)
		}
	case <-time.After(20 * time.Second):
		c.stop(t)
		t.Fatal("the point was never reached")
	}
}

// boot asks for a server. acknowledged tells that the API answered 202; id is
// "" when it did not.
func (c *cloud) boot(t *testing.T) (id string, acknowledged bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	sc, err := c.compute(ctx)
	if err != nil {
		return "", false // the crash may come with the login
	}
	s, err := servers.Create(ctx, sc, servers.CreateOpts{
		Name: "victim", ImageRef: c.imageID, FlavorRef: "42", Networks: []servers.Network{{UUID: c.netID}},
	}, nil).Extract()
	if err != nil {
		return "", false
	}
	return s.ID, true
}

func (c *cloud) list(ctx context.Context) ([]servers.Server, error) {
	sc, err := c.compute(ctx)
	if err != nil {
		return nil, err
	}
	page, err := servers.List(sc, servers.ListOpts{AllTenants: true}).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	return servers.ExtractServers(page)
}

// settled waits until there is what was asked: an acknowledged server ACTIVE,
// one that was not acknowledged ACTIVE or absent.
func (c *cloud) settled(t *testing.T, id string, acknowledged bool) {
	t.Helper()
	var last string
	for deadline := time.Now().Add(settle); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		list, err := c.list(t.Context())
		if err != nil {
			last = err.Error()
			continue
		}
		last = "no server"
		busy, found := false, false
		for _, s := range list {
			last = s.Status + " " + s.TaskState + " " + s.Fault.Message
			busy = busy || s.Status == "BUILD" || s.TaskState != ""
			found = found || s.ID == id && s.Status == "ACTIVE"
			if s.Status == "ERROR" {
				t.Fatalf("server %s is in ERROR: %s", s.ID, s.Fault.Message)
			}
		}
		if !busy && (found || !acknowledged) {
			return
		}
	}
	t.Fatalf("not settled after %s: %s", settle, last)
}

func (c *cloud) delete(id string) (acknowledged bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	sc, err := c.compute(ctx)
	if err != nil {
		return false
	}
	err = servers.Delete(ctx, sc, id).ExtractErr()
	return err == nil || gophercloud.ResponseCodeIs(err, http.StatusNotFound)
}

func (c *cloud) deleteAll(t *testing.T) {
	t.Helper()
	list, err := c.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if !c.delete(s.ID) {
			t.Errorf("server %s cannot be deleted", s.ID)
		}
		c.gone(t, s.ID)
	}
}

func (c *cloud) gone(t *testing.T, id string) {
	t.Helper()
	for deadline := time.Now().Add(settle); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		list, err := c.list(t.Context())
		if err == nil && !contains(list, id) {
			return
		}
	}
	t.Fatalf("server %s is still there after %s", id, settle)
}

func contains(list []servers.Server, id string) bool {
	for _, s := range list {
		if s.ID == id {
			return true
		}
	}
	return false
}

// auditEmpty gives the cloud the rest of the time it may take to clean up.
func (c *cloud) auditEmpty(t *testing.T) {
	t.Helper()
	var out []byte
	for deadline := time.Now().Add(settle); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		var err error
		out, err = exec.CommandContext(t.Context(), c.bin, "audit", "--json", "--state-dir", c.dir).Output()
		var findings struct {
			Findings []json.RawMessage `json:"findings"`
		}
		if err == nil && json.Unmarshal(out, &findings) == nil && len(findings.Findings) == 0 {
			return
		}
	}
	t.Fatalf("the audit is not empty after %s: %s", settle, out)
}
