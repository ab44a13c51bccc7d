package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"

	hastack "github.com/hastack/hastack/internal/openstack"
)

// session is this cloud's API as its admin.
type session struct {
	*cloud
	provider *gophercloud.ProviderClient
}

// admin logs in to the running cloud of the state directory.
func (a *app) admin(ctx context.Context) (*session, error) {
	c, err := a.cloud()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	provider, err := openstack.NewClient(c.authURL)
	if err != nil {
		return nil, err
	}
	provider.HTTPClient = http.Client{Transport: c.transport}
	err = openstack.Authenticate(ctx, provider, gophercloud.AuthOptions{
		IdentityEndpoint: c.authURL, Username: "admin", Password: c.admin.Reveal(), DomainName: "Default",
		Scope: &gophercloud.AuthScope{ProjectName: "admin", DomainName: "Default"},
	})
	if err != nil {
		next := "start it (hastack up)"
		if c.cluster != nil {
			next = "look at it (hastack status)"
		}
		return nil, fmt.Errorf("the cloud does not answer at %s (%w): %s", c.authURL, hastack.Fault(err), next)
	}
	return &session{c, provider}, nil
}

// call asks url and reads a JSON answer; an error carries the answer's text.
func (s *session) call(ctx context.Context, method, url string, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Auth-Token", s.provider.Token())
	req.Header.Set("OpenStack-API-Version", "compute latest")
	resp, err := (&http.Client{Timeout: 2 * time.Minute, Transport: s.transport}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, strings.TrimSpace(string(b)))
	}
	return json.Unmarshal(b, out)
}
