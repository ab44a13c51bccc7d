package firstday

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"golang.org/x/crypto/ssh"

	"github.com/hastack/hastack/internal/config"
)

// How long the parts of a first boot may take; emulated processors are slow.
const (
	bootTimeout = 3 * time.Minute
	sshTimeout  = 3 * time.Minute
)

// keyPair imports the public half of a key that is kept in KeyDir.
func (c *content) keyPair(ctx context.Context) error {
	signer, err := c.privateKey()
	if err != nil {
		return err
	}
	sc, err := openstack.NewComputeV2(c.demo, c.opts())
	if err != nil {
		return err
	}
	_, err = keypairs.Get(ctx, sc, Key, nil).Extract()
	if err == nil || !gophercloud.ResponseCodeIs(err, 404) {
		return err
	}
	_, err = keypairs.Create(ctx, sc, keypairs.CreateOpts{
		Name: Key, PublicKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))) + " " + Key,
	}).Extract()
	if err != nil {
		return fmt.Errorf("import key pair %s: %w", Key, err)
	}
	return nil
}

func (c *content) privateKey() (ssh.Signer, error) {
	b, err := os.ReadFile(c.out.KeyFile)
	if errors.Is(err, os.ErrNotExist) {
		_, key, gerr := ed25519.GenerateKey(rand.Reader)
		if gerr != nil {
			return nil, gerr
		}
		block, merr := ssh.MarshalPrivateKey(key, Key)
		if merr != nil {
			return nil, merr
		}
		b = pem.EncodeToMemory(block)
		err = config.WriteFile(c.out.KeyFile, b, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", c.out.KeyFile, err)
	}
	return ssh.ParsePrivateKey(b)
}

func (c *content) server(ctx context.Context) error {
	if !c.cfg.Boot {
		return nil
	}
	sc, err := openstack.NewComputeV2(c.demo, c.opts())
	if err != nil {
		return err
	}
	found, err := all(ctx, servers.List(sc, servers.ListOpts{Name: "^" + Server + "$"}), servers.ExtractServers)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		if err := c.boot(ctx, sc); err != nil {
			return err
		}
	} else {
		c.out.ServerID = found[0].ID
		if s := found[0].Status; s != "ACTIVE" && s != "BUILD" {
			// The user stopped it or it failed before: theirs to decide.
			return nil
		}
		if err := c.active(ctx, sc); err != nil {
			return err
		}
	}
	if err := c.floatingIP(ctx); err != nil {
		return err
	}
	if !c.cfg.WaitSSH {
		return nil
	}
	start := c.cfg.Clock.Now()
	c.cfg.Progress("server", "waiting for ssh at "+c.out.FloatingIP)
	err = c.wait(ctx, "ssh at "+c.out.FloatingIP, sshTimeout, 200*time.Millisecond, c.sshAnswers)
	c.out.SSHTook = c.cfg.Clock.Now().Sub(start)
	return err
}

func (c *content) boot(ctx context.Context, sc *gophercloud.ServiceClient) error {
	imageID, err := c.imageID(ctx)
	if err != nil {
		return err
	}
	nc, err := openstack.NewNetworkV2(c.demo, c.opts())
	if err != nil {
		return err
	}
	nets, err := all(ctx, networks.List(nc, networks.ListOpts{Name: Private, ProjectID: c.projectID}), networks.ExtractNetworks)
	if err != nil {
		return err
	}
	start := c.cfg.Clock.Now()
	s, err := servers.Create(ctx, sc, keypairs.CreateOptsExt{
		CreateOptsBuilder: servers.CreateOpts{
			Name: Server, ImageRef: imageID, FlavorRef: sizes[0].id,
			Networks: []servers.Network{{UUID: first(nets, func(n networks.Network) string { return n.ID })}},
		},
		KeyName: Key,
	}, nil).Extract()
	if err != nil {
		return fmt.Errorf("create server %s: %w", Server, err)
	}
	c.out.ServerID = s.ID
	if err := c.active(ctx, sc); err != nil {
		return err
	}
	c.out.BootTook = c.cfg.Clock.Now().Sub(start)
	return nil
}

func (c *content) imageID(ctx context.Context) (string, error) {
	sc, err := openstack.NewImageV2(c.demo, c.opts())
	if err != nil {
		return "", err
	}
	found, err := all(ctx, images.List(sc, images.ListOpts{Name: Image, Status: images.ImageStatusActive}), images.ExtractImages)
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("there is no active image %s", Image)
	}
	return found[0].ID, nil
}

func (c *content) active(ctx context.Context, sc *gophercloud.ServiceClient) error {
	return c.wait(ctx, "server "+Server, bootTimeout, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		s, err := servers.Get(ctx, sc, c.out.ServerID).Extract()
		if err != nil {
			return false, err
		}
		c.cfg.Progress("server", s.Name+" "+strings.ToLower(s.Status)+" "+s.TaskState)
		switch s.Status {
		case "ACTIVE":
			return true, nil
		case "ERROR":
			return false, fmt.Errorf("server %s could not be built: %s (hastack trace %s)", Server, s.Fault.Message, Server)
		}
		return false, nil
	})
}

// floatingIP gives the server an address outside, unless it has one.
func (c *content) floatingIP(ctx context.Context) error {
	sc, err := openstack.NewNetworkV2(c.demo, c.opts())
	if err != nil {
		return err
	}
	plugged, err := all(ctx, ports.List(sc, ports.ListOpts{DeviceID: c.out.ServerID}), ports.ExtractPorts)
	if err != nil {
		return err
	}
	if len(plugged) == 0 {
		return fmt.Errorf("server %s has no port", Server)
	}
	have, err := all(ctx, floatingips.List(sc, floatingips.ListOpts{PortID: plugged[0].ID}), floatingips.ExtractFloatingIPs)
	if err != nil {
		return err
	}
	if len(have) > 0 {
		c.out.FloatingIP = have[0].FloatingIP
		return nil
	}
	nets, err := all(ctx, networks.List(sc, networks.ListOpts{Name: Public}), networks.ExtractNetworks)
	if err != nil {
		return err
	}
	fip, err := floatingips.Create(ctx, sc, floatingips.CreateOpts{
		FloatingNetworkID: first(nets, func(n networks.Network) string { return n.ID }), PortID: plugged[0].ID,
	}).Extract()
	if err != nil {
		return fmt.Errorf("create floating IP: %w", err)
	}
	c.out.FloatingIP = fip.FloatingIP
	return nil
}

// sshAnswers tries to log in with the key; everything but success is "not yet".
func (c *content) sshAnswers(ctx context.Context) (bool, error) {
	signer, err := c.privateKey()
	if err != nil {
		return false, err
	}
	d := net.Dialer{Timeout: 2 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(c.out.FloatingIP, "22"))
	if err != nil {
		return false, nil // not yet
	}
	defer conn.Close()
	if err := conn.SetDeadline(c.cfg.Clock.Now().Add(20 * time.Second)); err != nil {
		return false, err
	}
	sc, _, _, err := ssh.NewClientConn(conn, c.out.FloatingIP, &ssh.ClientConfig{
		User: SSHUser, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		// The host key is made at the first boot: there is nothing to compare it with.
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
	if err != nil {
		return false, nil // not yet
	}
	return true, sc.Close()
}
