package crash

import (
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
)

// uploadImage makes an image that the fake driver takes.
func (c *cloud) uploadImage(t *testing.T, sc *gophercloud.ServiceClient) string {
	t.Helper()
	img, err := images.Create(t.Context(), sc, images.CreateOpts{Name: "blank", DiskFormat: "raw", ContainerFormat: "bare"}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	if err := imagedata.Upload(t.Context(), sc, img.ID, strings.NewReader(strings.Repeat("\x00", 1<<20))).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	return img.ID
}

func (c *cloud) makeNetwork(t *testing.T, sc *gophercloud.ServiceClient) string {
	t.Helper()
	n, err := networks.Create(t.Context(), sc, networks.CreateOpts{Name: "crash"}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	_, err = subnets.Create(t.Context(), sc, subnets.CreateOpts{NetworkID: n.ID, IPVersion: gophercloud.IPv4, CIDR: "10.98.0.0/24"}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	return n.ID
}
