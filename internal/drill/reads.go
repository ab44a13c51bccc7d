package drill

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// readTimeout is the deadline of one try of a read.
const readTimeout = time.Second

// readProbes are the mix of idempotent requests, each service's through the
// public VIP, and one through the VIP that services use.
func readProbes(public, api *cloud) []*probe {
	get := func(name, group string, c *cloud, path string, headers ...string) *probe {
		own := c.own()
		return &probe{name: name, group: group, every: 250 * time.Millisecond, timeout: readTimeout, lanes: 12,
			try: func(ctx context.Context, _, _ int) error {
				_, err := own.do(ctx, http.MethodGet, path, nil, nil, headers...)
				return err
			}}
	}
	probes := []*probe{
		validate("validate token", public),
		issue(public),
		get("list flavors", "compute", public, "/compute/v2.1/flavors?limit=5"),
		get("list servers", "compute", public, "/compute/v2.1/servers?limit=5"),
		get("list networks", "network", public, "/network/v2.0/networks?limit=5"),
		get("list images", "image", public, "/image/v2/images?limit=5"),
		get("list resource classes", "placement", public, "/placement/resource_classes", "OpenStack-API-Version", "placement 1.10"),
	}
	if api.base != public.base {
		p := validate("validate token (api VIP)", api)
		p.group = "api vip"
		probes = append(probes, p)
	}
	return probes
}

func validate(name string, c *cloud) *probe {
	own := c.own()
	return &probe{name: name, group: "identity", every: 250 * time.Millisecond, timeout: readTimeout, lanes: 12,
		try: func(ctx context.Context, _, _ int) error {
			_, err := own.do(ctx, http.MethodGet, "/identity/v3/auth/tokens?nocatalog", nil, nil, "X-Subject-Token", own.session.Token())
			return err
		}}
}

// issue asks for a token by token: by password each would cost a quarter of a
// processor second of bcrypt. Issuing twice harms nobody, so it is repeated.
func issue(c *cloud) *probe {
	own := c.own()
	return &probe{name: "issue token", group: "identity", every: 250 * time.Millisecond, timeout: readTimeout, lanes: 12,
		try: func(ctx context.Context, _, _ int) error {
			h, err := own.do(ctx, http.MethodPost, "/identity/v3/auth/tokens?nocatalog", object{"auth": object{
				"identity": object{"methods": []string{"token"}, "token": object{"id": own.session.Token()}},
				"scope":    object{"project": object{"id": own.session.Project()}}}}, nil)
			if err == nil && h.Get("X-Subject-Token") == "" {
				return errors.New("an answer without a token")
			}
			return err
		}}
}
