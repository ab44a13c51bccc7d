package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
)

// cloud is an ephemeral cloud that runs beside the tests.
type cloud struct {
	cmd           *exec.Cmd
	AuthURL       string `json:"auth_url"`
	Region        string `json:"region"`
	AdminUser     string `json:"admin_user"`
	AdminPassword string `json:"admin_password"`
	DemoUser      string `json:"demo_user"`
	DemoPassword  string `json:"demo_password"`
}

// What the tests take their flavors to be, and the release whose behaviour
// they are to expect.
const (
	flavor, flavorResize = "42", "84"
	branch               = "stable/2025.2"
)

// slow makes what the fake driver does at once last long enough for a test,
// which looks once a second, to see the status that a server has meanwhile.
const slow = "nova.rebuild.hypervisor.before-effect=delay:2s;nova.reboot.hypervisor.before-effect=delay:2s"

// personas are who runs a test: first the administrator; a test that skips
// because it wants somebody else runs again as them.
func (c *cloud) personas() []persona {
	return []persona{
		{"", []string{"OS_USERNAME=" + c.AdminUser, "OS_PASSWORD=" + c.AdminPassword, "OS_PROJECT_NAME=admin"}},
		{"must be a non-admin", []string{"OS_USERNAME=" + c.DemoUser, "OS_PASSWORD=" + c.DemoPassword, "OS_PROJECT_NAME=demo"}},
		{"must use system scope", []string{"OS_USERNAME=" + c.AdminUser, "OS_PASSWORD=" + c.AdminPassword, "OS_SYSTEM_SCOPE=all"}},
	}
}

// persona is whom tests log in as, and what tests say that ask for them.
type persona struct {
	skipText string
	env      []string
}

func startCloud(ctx context.Context, hastack string) (*cloud, error) {
	cmd := exec.CommandContext(ctx, hastack, "up", "--ephemeral", "--driver", "fake", "--no-server")
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "HASTACK_FAILPOINTS="+slow)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", hastack, err)
	}
	c := &cloud{cmd: cmd}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		err = json.Unmarshal([]byte(line), c)
	}
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("the cloud did not announce itself: %w", err)
	}
	return c, nil
}

func (c *cloud) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	_ = c.cmd.Wait()
}

// environment makes what the tests expect to find and names it the way they
// want to be told.
func (c *cloud) environment(ctx context.Context, proxy string) ([]string, error) {
	provider, err := openstack.AuthenticatedClient(ctx, gophercloud.AuthOptions{
		IdentityEndpoint: c.AuthURL, Username: c.AdminUser, Password: c.AdminPassword, DomainName: "Default",
		Scope: &gophercloud.AuthScope{ProjectName: "admin", DomainName: "Default"},
	})
	if err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	opts := gophercloud.EndpointOpts{Region: c.Region}
	imageID, err := makeImage(ctx, provider, opts)
	if err != nil {
		return nil, fmt.Errorf("make the image: %w", err)
	}
	netID, subnetID, extID, err := makeNetworks(ctx, provider, opts)
	if err != nil {
		return nil, fmt.Errorf("make the networks: %w", err)
	}
	return []string{
		"OS_AUTH_URL=" + c.AuthURL, "OS_DOMAIN_NAME=Default", "OS_REGION_NAME=" + c.Region,
		"OS_BRANCH=" + branch, "OS_FLAVOR_ID=" + flavor, "OS_FLAVOR_ID_RESIZE=" + flavorResize, "OS_IMAGE_ID=" + imageID,
		"OS_NETWORK_NAME=compat", "OS_NETWORK_ID=" + netID, "OS_SUBNET_ID=" + subnetID,
		"OS_POOL_NAME=public", "OS_EXTGW_ID=" + extID, "http_proxy=" + proxy, "no_proxy=127.0.0.1",
	}, nil
}

func makeImage(ctx context.Context, p *gophercloud.ProviderClient, opts gophercloud.EndpointOpts) (string, error) {
	sc, err := openstack.NewImageV2(p, opts)
	if err != nil {
		return "", err
	}
	public := images.ImageVisibilityPublic
	img, err := images.Create(ctx, sc, images.CreateOpts{Name: "compat", DiskFormat: "raw", ContainerFormat: "bare", Visibility: &public}).Extract()
	if err != nil {
		return "", err
	}
	return img.ID, imagedata.Upload(ctx, sc, img.ID, strings.NewReader(strings.Repeat("\x00", 1<<20))).ExtractErr()
}

func makeNetworks(ctx context.Context, p *gophercloud.ProviderClient, opts gophercloud.EndpointOpts) (netID, subnetID, extID string, err error) {
	sc, err := openstack.NewNetworkV2(p, opts)
	if err != nil {
		return "", "", "", err
	}
	page, err := networks.List(sc, networks.ListOpts{Name: "public"}).AllPages(ctx)
	if err != nil {
		return "", "", "", err
	}
	found, err := networks.ExtractNetworks(page)
	if err != nil {
		return "", "", "", err
	}
	if len(found) == 0 {
		return "", "", "", errors.New("there is no network public")
	}
	n, err := networks.Create(ctx, sc, networks.CreateOpts{Name: "compat", Shared: gophercloud.Enabled}).Extract()
	if err != nil {
		return "", "", "", err
	}
	s, err := subnets.Create(ctx, sc, subnets.CreateOpts{NetworkID: n.ID, IPVersion: gophercloud.IPv4, CIDR: "10.99.0.0/24"}).Extract()
	if err != nil {
		return "", "", "", err
	}
	return n.ID, s.ID, found[0].ID, nil
}
