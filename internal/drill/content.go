package drill

import (
	"context"
	"fmt"
	"net/http"
)

// contentName is the name of what a drill needs in the cloud. It is found
// before it is made, and stays for the next drill.
const contentName = "hastack-drill"

// prepare makes what the probes need and lifts the quotas of the project.
func (r *Run) prepare(ctx context.Context) error {
	c, project := r.public, r.public.session.Project()
	lift := func(path string, body any) error {
		_, err := read(c.do(ctx, http.MethodPut, path, body, nil))
		return err
	}
	if err := lift("/network/v2.0/quotas/"+project, object{"quota": object{"security_group": -1, "security_group_rule": -1, "port": -1, "network": -1, "subnet": -1}}); err != nil {
		return fmt.Errorf("lift the network quotas: %w", err)
	}
	if err := lift("/compute/v2.1/os-quota-sets/"+project, object{"quota_set": object{
		"server_groups": -1, "instances": -1, "cores": -1, "ram": -1}}); err != nil {
		return fmt.Errorf("lift the compute quotas: %w", err)
	}
	if r.opts.NoBoots {
		return nil
	}
	b := &booter{cloud: c.own(), clock: r.target.Clock, pause: r.opts.BootPause}
	var err error
	if b.flavor, err = r.ensureFlavor(ctx, c); err != nil {
		return fmt.Errorf("flavor %s: %w", contentName, err)
	}
	if b.image, err = r.ensureImage(ctx, c); err != nil {
		return fmt.Errorf("image %s: %w", contentName, err)
	}
	if b.network, err = r.ensureNetwork(ctx, c); err != nil {
		return fmt.Errorf("network %s: %w", contentName, err)
	}
	r.booter = b
	return nil
}

func (r *Run) ensureFlavor(ctx context.Context, c *cloud) (string, error) {
	var list struct{ Flavors []struct{ ID, Name string } }
	if _, err := read(c.do(ctx, http.MethodGet, "/compute/v2.1/flavors", nil, &list)); err != nil {
		return "", err
	}
	for _, f := range list.Flavors {
		if f.Name == contentName {
			return f.ID, nil
		}
	}
	var f struct{ Flavor struct{ ID string } }
	_, err := read(c.do(ctx, http.MethodPost, "/compute/v2.1/flavors",
		object{"flavor": object{"name": contentName, "vcpus": 1, "ram": 32, "disk": 0}}, &f))
	return f.Flavor.ID, err
}

// ensureImage makes an image of nothing: its servers find no system and halt,
// which is all that a boot needs.
func (r *Run) ensureImage(ctx context.Context, c *cloud) (string, error) {
	var list struct{ Images []struct{ ID, Status string } }
	if _, err := read(c.do(ctx, http.MethodGet, "/image/v2/images?name="+contentName, nil, &list)); err != nil {
		return "", err
	}
	for _, i := range list.Images {
		if i.Status == "active" {
			return i.ID, nil
		}
	}
	var img struct{ ID string }
	_, err := read(c.do(ctx, http.MethodPost, "/image/v2/images",
		object{"name": contentName, "disk_format": "raw", "container_format": "bare"}, &img))
	if err != nil {
		return "", err
	}
	_, err = read(c.do(ctx, http.MethodPut, "/image/v2/images/"+img.ID+"/file", make([]byte, 1<<20), nil))
	return img.ID, err
}

func (r *Run) ensureNetwork(ctx context.Context, c *cloud) (string, error) {
	var list struct{ Networks []struct{ ID string } }
	if _, err := read(c.do(ctx, http.MethodGet, "/network/v2.0/networks?name="+contentName, nil, &list)); err != nil {
		return "", err
	}
	if len(list.Networks) > 0 {
		return list.Networks[0].ID, nil
	}
	var n struct{ Network struct{ ID string } }
	if _, err := read(c.do(ctx, http.MethodPost, "/network/v2.0/networks", object{"network": object{"name": contentName}}, &n)); err != nil {
		return "", err
	}
	_, err := read(c.do(ctx, http.MethodPost, "/network/v2.0/subnets",
		object{"subnet": object{"network_id": n.Network.ID, "ip_version": 4, "cidr": "10.97.0.0/16"}}, nil))
	return n.Network.ID, err
}
