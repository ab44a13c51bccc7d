package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	serial           atomic.Int64
}

func start(b *testing.B) *cloud {
	b.Helper()
	bin := os.Getenv("HASTACK_BIN")
	if bin == "" {
		b.Skip("HASTACK_BIN does not name the binary to measure")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	c := &cloud{dir: filepath.Join(b.TempDir(), "state"), listen: l.Addr().String()}
	_ = l.Close()
	out, err := exec.CommandContext(b.Context(), bin, "up", "--state-dir", c.dir, "--listen", c.listen, "--driver", "fake", "--no-server").CombinedOutput()
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
	c.cmd = exec.CommandContext(context.WithoutCancel(b.Context()), os.Getenv("HASTACK_BIN"), "serve", "all", "--config", filepath.Join(c.dir, "hastack.yaml"), "--state-dir", c.dir)
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
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	_ = c.cmd.Wait()
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
	c.provider, err = openstack.AuthenticatedClient(b.Context(), gophercloud.AuthOptions{
		IdentityEndpoint: a["auth_url"], Username: a["username"], Password: a["password"], DomainName: "Default",
		Scope: &gophercloud.AuthScope{ProjectName: a["project_name"], DomainName: "Default"},
	})
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
	c.imageID = img.ID
	disk := 1
	_, err = flavors.Create(ctx, c.compute, flavors.CreateOpts{ID: "bench", Name: "bench", VCPUs: 1, RAM: 16, Disk: &disk}).Extract()
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

// cpu is the user and system time of the cloud's process.
func (c *cloud) cpu(b *testing.B) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	check(b, err)
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	check(b, err1)
	check(b, err2)
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

func (c *cloud) residentMB(b *testing.B) float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	check(b, err)
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			check(b, err)
			return kb / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
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

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)/2]
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
