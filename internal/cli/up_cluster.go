package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/firstday"
	"github.com/hastack/hastack/internal/topology"
)

// clusterTimeout bounds how long up waits for a cluster to answer.
const clusterTimeout = 60 * time.Second

// upCluster makes the first content of a deployed cluster through its public
// address.
func (a *app) upCluster(ctx context.Context, o upOptions) error {
	d, err := a.openCluster()
	if err != nil {
		return err
	}
	c := clusterCloud(d)
	if c.authURL == "/identity/v3" {
		return fmt.Errorf("topology %s has no virtual address (vips): clients have nowhere to begin", d.Topology.Name)
	}
	p := newProgress(a.out)
	p.begin("cloud", "")
	if err := a.waitCluster(ctx, p); err != nil {
		p.end("")
		return err
	}
	p.end("ready at " + d.PublicURL())
	image := o.image
	if image == "" {
		image = findImage(a.stateDir)
	}
	driver := d.Topology.Compute.Driver
	fd := firstday.Config{
		AuthURL: c.authURL, Region: c.region, AdminPassword: c.admin, DemoPassword: c.demo, Transport: c.transport,
		ImageFile: image, KeyDir: d.Path, PrivateCIDR: "10.11.0.0/24",
		Boot: !o.noServer && image != "", WaitSSH: driver == "qemu", Progress: p.begin,
	}
	if err := externalNetwork(&fd, d.Topology); err != nil {
		return err
	}
	content, err := firstday.Ensure(ctx, fd)
	if err != nil {
		p.end("")
		return err
	}
	p.end(serverLine(content))
	a.welcome(c.authURL, c.cloudsFile, content, driver)
	return nil
}

// externalNetwork takes the external network from the topology.
func externalNetwork(fd *firstday.Config, t *topology.Topology) error {
	n := t.Networks[topology.External]
	if n == nil {
		return fmt.Errorf("topology %s has no external network: floating IPs have nowhere to come from", t.Name)
	}
	fd.ExternalCIDR, fd.ExternalPool = n.CIDR.String(), n.Floating
	if n.Gateway.IsValid() {
		fd.ExternalGateway = n.Gateway.String()
	}
	return nil
}

// waitCluster waits until the cluster lets its admin in.
func (a *app) waitCluster(ctx context.Context, p *progress) error {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	for {
		_, err := a.admin(ctx)
		if err == nil {
			return nil
		}
		p.detail(err.Error())
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return err
			}
			return ctx.Err()
		case <-clock.System.After(500 * time.Millisecond):
		}
	}
}
