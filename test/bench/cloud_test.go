package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/quotasets"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/quotas"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
	"go.yaml.in/yaml/v3"
)

// cloud is a running one with simulated servers, and an admin's clients of it.
type cloud struct {
	dir, listen      string
	cmd              *exec.Cmd
	provider         *gophercloud.ProviderClient
	identity         *gophercloud.ServiceClient
	compute, network *gophercloud.ServiceClient
	imageID, netID   string
	auth             gophercloud.AuthOptions
	flavor           string

	serial, polls, logins atomic.Int64
}

// start runs a cloud with simulated servers that has run before.
func start(b *testing.B) *cloud {
	b.Helper()
	return startWith(b, "fake", "")
}

// startWith is start with a driver and, if it boots, the image to boot.
func startWith(b *testing.B, driver, image string) *cloud {
	b.Helper()
	bin := os.Getenv("HASTACK_BIN")
	if bin == "" {
		b.Skip("HASTACK_BIN does not name the binary to measure")
	}
	wantDisk(b, b.TempDir())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	c := &cloud{dir: filepath.Join(b.TempDir(), "state"), listen: l.Addr().String()}
	_ = l.Close()
	args := []string{"up", "--state-dir", c.dir, "--listen", c.listen, "--driver", driver, "--no-server"}
	if image != "" {
		args = append(args, "--image", image)
	}
	b.Cleanup(func() { c.reset(b, driver) })
	out, err := exec.CommandContext(b.Context(), bin, args...).CombinedOutput()
	if err != nil {
		b.Fatalf("up: %v\n%s", err, out)
	}
	if out, err := exec.CommandContext(b.Context(), bin, "down", "--state-dir", c.dir).CombinedOutput(); err != nil {
		b.Fatalf("down: %v\n%s", err, out)
	}
	c.up(b)
	b.Cleanup(func() { c.down(b) })
	c.login(b)
	c.content(b)
	return c
}

func (c *cloud) up(b *testing.B) {
	b.Helper()
	log, err := os.OpenFile(filepath.Join(c.dir, "log", "hastack.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	args := []string{"serve", "all", "--config", filepath.Join(c.dir, "hastack.yaml"), "--state-dir", c.dir}
	if dir := os.Getenv("HASTACK_CPUPROFILE"); dir != "" {
		args = append(args, "--cpuprofile", filepath.Join(dir, strings.ReplaceAll(b.Name(), "/", "-")+".pprof"))
	}
	c.cmd = exec.CommandContext(context.WithoutCancel(b.Context()), os.Getenv("HASTACK_BIN"), args...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	for range 3000 {
		resp, err := http.Get("http://" + c.listen + "/healthcheck")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	b.Fatal("the cloud is not ready")
}

func (c *cloud) down(b *testing.B) {
	b.Helper()
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	if err := c.cmd.Wait(); err != nil {
		b.Error("the cloud stopped with", err)
	}
	c.cmd = nil
}

// reset removes what real servers leave on the machine.
func (c *cloud) reset(b *testing.B, driver string) {
	if driver == "fake" {
		return
	}
	ctx := context.WithoutCancel(b.Context())
	if out, err := exec.CommandContext(ctx, os.Getenv("HASTACK_BIN"), "reset", "--yes", "--state-dir", c.dir).CombinedOutput(); err != nil {
		b.Errorf("reset: %v\n%s", err, out)
	}
}

func (c *cloud) login(b *testing.B) {
	b.Helper()
	raw, err := os.ReadFile(filepath.Join(c.dir, "clouds.yaml"))
	if err != nil {
		b.Fatal(err)
	}
	var doc struct {
		Clouds map[string]struct {
			Auth map[string]string `yaml:"auth"`
		} `yaml:"clouds"`
	}
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		b.Fatal(err)
	}
	a := doc.Clouds["hastack-admin"].Auth
	c.auth = gophercloud.AuthOptions{
		IdentityEndpoint: a["auth_url"], Username: a["username"], Password: a["password"], DomainName: "Default",
		Scope: &gophercloud.AuthScope{ProjectName: a["project_name"], DomainName: "Default"},
	}
	c.provider, err = openstack.AuthenticatedClient(b.Context(), c.auth)
	if err != nil {
		b.Fatal(err)
	}
	c.provider.HTTPClient.Transport = &http.Transport{MaxIdleConnsPerHost: 64}
	if c.identity, err = openstack.NewIdentityV3(c.provider, gophercloud.EndpointOpts{}); err != nil {
		b.Fatal(err)
	}
	if c.compute, err = openstack.NewComputeV2(c.provider, gophercloud.EndpointOpts{}); err != nil {
		b.Fatal(err)
	}
	if c.network, err = openstack.NewNetworkV2(c.provider, gophercloud.EndpointOpts{}); err != nil {
		b.Fatal(err)
	}
}

// content makes an image, a small flavor, a large network, and lifts quotas.
func (c *cloud) content(b *testing.B) {
	b.Helper()
	ctx := b.Context()
	ic, err := openstack.NewImageV2(c.provider, gophercloud.EndpointOpts{})
	check(b, err)
	img, err := images.Create(ctx, ic, images.CreateOpts{Name: "bench", DiskFormat: "raw", ContainerFormat: "bare"}).Extract()
	check(b, err)
	check(b, imagedata.Upload(ctx, ic, img.ID, strings.NewReader(strings.Repeat("\x00", 1<<20))).ExtractErr())
	c.imageID, c.flavor = img.ID, "bench"
	disk := 1
	_, err = flavors.Create(ctx, c.compute, flavors.CreateOpts{ID: c.flavor, Name: c.flavor, VCPUs: 1, RAM: 16, Disk: &disk}).Extract()
	check(b, err)
	n, err := networks.Create(ctx, c.network, networks.CreateOpts{Name: "bench"}).Extract()
	check(b, err)
	_, err = subnets.Create(ctx, c.network, subnets.CreateOpts{NetworkID: n.ID, IPVersion: gophercloud.IPv4, CIDR: "10.96.0.0/16"}).Extract()
	check(b, err)
	c.netID = n.ID
	project, err := c.project()
	check(b, err)
	none := -1
	_, err = quotasets.Update(ctx, c.compute, project, quotasets.UpdateOpts{Instances: &none, Cores: &none, RAM: &none}).Extract()
	check(b, err)
	_, err = quotas.Update(ctx, c.network, project, quotas.UpdateOpts{Port: &none}).Extract()
	check(b, err)
}

func (c *cloud) project() (string, error) {
	var body struct {
		Token struct {
			Project struct {
				ID string `json:"id"`
			} `json:"project"`
		} `json:"token"`
	}
	req, err := http.NewRequest(http.MethodGet, c.identity.Endpoint+"auth/tokens", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("X-Auth-Token", c.provider.Token())
	req.Header.Set("X-Subject-Token", c.provider.Token())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	err = json.NewDecoder(resp.Body).Decode(&body)
	return body.Token.Project.ID, err
}

func (c *cloud) get(b *testing.B, url string) string {
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
	check(b, err)
	req.Header.Set("X-Auth-Token", c.provider.Token())
	return c.do(b, req)
}

// do sends req and wants 200.
func (c *cloud) do(b *testing.B, req *http.Request) string {
	resp, err := c.provider.HTTPClient.Do(req)
	check(b, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	check(b, err)
	if resp.StatusCode != http.StatusOK {
		b.Fatalf("%s: %s: %s", req.URL, resp.Status, body)
	}
	return string(body)
}

// counters reads the process's own counters.
func (c *cloud) counters(b *testing.B) map[string]float64 {
	resp, err := http.Get("http://" + c.listen + "/metrics")
	check(b, err)
	defer resp.Body.Close()
	out := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			out[name] = v
		}
	}
	return out
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
