package node

import (
	"context"
	"net"
	"net/http"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/tlsfiles"
)

// hostCollectors are those that the configuration asks for, beside the engines
// of galera and rabbit.
func hostCollectors(cfg *Config, deps Deps, files *tlsfiles.Files) []Collector {
	list := []Collector{
		&hostCollector{root: deps.Root},
		diskCollector{cfg.disks(), unix.Statfs},
		clockCollector{chronyTracking},
		certificateCollector{cfg.Certificates, deps.Clock},
	}
	add := func(wanted bool, c Collector) {
		if wanted {
			list = append(list, c)
		}
	}
	add(len(cfg.Links) > 0, &linkCollector{root: deps.Root, links: cfg.Links, clock: deps.Clock, log: deps.Log, since: since{}})
	add(len(cfg.VIPs) > 0, &vipCollector{vips: cfg.VIPs, addresses: kernelAddresses, clock: deps.Clock, log: deps.Log, since: since{}})
	add(len(cfg.Units) > 0, newUnitCollector(cfg.Units, deps))
	client := localClient(files)
	add(len(cfg.Services) > 0, &serviceCollector{services: cfg.Services, client: client, clock: deps.Clock, log: deps.Log, since: since{}})
	add(cfg.FernetKeys != "", fernetCollector{cfg.FernetKeys})
	add(cfg.HAProxy != "", haproxyCollector{cfg.HAProxy})
	add(cfg.Pacemaker, pacemakerCollector{crmStatus})
	add(cfg.Memcached != "", memcachedCollector{cfg.Memcached})
	add(cfg.Guests, guestCollector{deps.Root})
	add(cfg.Audit != "", auditCollector{cfg.Audit, client})
	return list
}

// localClient talks to the services of this server. Connections are kept: a
// handshake costs more than all else that the agent does.
func localClient(files *tlsfiles.Files) *http.Client {
	d := &net.Dialer{Timeout: 2 * time.Second}
	return &http.Client{
		Timeout: 3 * time.Second,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return d.DialContext(ctx, network, addr)
			},
			TLSClientConfig: files.Client(""), MaxIdleConnsPerHost: 1, IdleConnTimeout: 2 * time.Minute, DisableCompression: true,
		},
	}
}
