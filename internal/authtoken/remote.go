package authtoken

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
)

// Remote validates tokens through Keystone's public API, as itself.
type Remote struct {
	AuthURL string // ends in /v3
	Client  *http.Client
	// OwnToken gives the service's own token; with fresh it must be a new one.
	OwnToken func(ctx context.Context, fresh bool) (string, error)
}

// tokenDocument is the part of Keystone's token body that identities need.
type tokenDocument struct {
	Token struct {
		Methods   []string  `json:"methods"`
		AuditIDs  []string  `json:"audit_ids"`
		IssuedAt  time.Time `json:"issued_at"`
		ExpiresAt time.Time `json:"expires_at"`
		User      struct {
			ID     string `json:"id"`
			Name   string `json:"name"`
			Domain named  `json:"domain"`
		} `json:"user"`
		Project *struct {
			ID     string `json:"id"`
			Name   string `json:"name"`
			Domain named  `json:"domain"`
		} `json:"project"`
		Domain *named `json:"domain"`
		System *struct {
			All bool `json:"all"`
		} `json:"system"`
		Roles   []Role `json:"roles"`
		AppCred *struct {
			ID         string `json:"id"`
			Restricted bool   `json:"restricted"`
		} `json:"application_credential"`
	} `json:"token"`
}

type named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// reachFor is how long Keystone is asked again when it cannot be reached: its
// address moves to another balancer in less. firstPause is the pause after the
// first try; each one after it is twice as long.
const (
	reachFor   = 2 * time.Second
	firstPause = 100 * time.Millisecond
)

// Validate asks Keystone about token, again and again for a moment when it
// cannot be reached.
func (k *Remote) Validate(ctx context.Context, token string) (*Identity, error) {
	until := clock.System.Now().Add(reachFor)
	for pause := firstPause; ; pause *= 2 {
		id, away, err := k.validate(ctx, token)
		if !away || clock.System.Now().Add(pause).After(until) {
			return id, err
		}
		select {
		case <-clock.System.After(pause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// validate is one try. When Keystone does not know the service's own token any
// more, it asks once more with a new one. Away means that nobody answered who
// can tell.
func (k *Remote) validate(ctx context.Context, token string) (id *Identity, away bool, err error) {
	for _, fresh := range []bool{false, true} {
		own, err := k.OwnToken(ctx, fresh)
		if err != nil {
			return nil, true, fault.Wrap(fault.Unavailable, err, "Keystone cannot be reached to check the token")
		}
		id, status, err := k.ask(ctx, own, token)
		if err != nil {
			return nil, true, err
		}
		switch status {
		case http.StatusOK:
			return id, false, nil
		case http.StatusNotFound:
			return nil, false, fault.New(fault.Unauthorized, "the token is not valid")
		case http.StatusUnauthorized, http.StatusForbidden:
			continue
		default:
			return nil, status >= 500, fault.New(fault.Unavailable, "Keystone answered %d to the token check", status)
		}
	}
	return nil, false, fault.New(fault.Unavailable, "Keystone does not accept the service's own token")
}

func (k *Remote) ask(ctx context.Context, own, token string) (*Identity, int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.AuthURL+"/auth/tokens?nocatalog=1", nil)
	if err != nil {
		return nil, 0, fmt.Errorf("make token check: %w", err)
	}
	req.Header.Set("X-Auth-Token", own)
	req.Header.Set("X-Subject-Token", token)
	resp, err := k.Client.Do(req)
	if err != nil {
		return nil, 0, fault.Wrap(fault.Unavailable, err, "Keystone cannot be reached to check the token")
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, 0, fault.Wrap(fault.Unavailable, err, "Keystone's answer to the token check broke off")
	}
	if resp.StatusCode != http.StatusOK {
		return nil, resp.StatusCode, nil
	}
	var doc tokenDocument
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, 0, fault.Wrap(fault.Unavailable, err, "Keystone's answer to the token check is not readable")
	}
	id := doc.identity()
	id.TokenRequestedAt, id.TokenVerified = readIssue(resp.Header.Get("X-Hastack-Token-Issue"))
	return id, http.StatusOK, nil
}

func (d *tokenDocument) identity() *Identity {
	t := &d.Token
	id := &Identity{
		UserID: t.User.ID, UserName: t.User.Name, UserDomainID: t.User.Domain.ID, UserDomainName: t.User.Domain.Name,
		Roles: t.Roles, Methods: t.Methods, AuditIDs: t.AuditIDs, IssuedAt: t.IssuedAt, ExpiresAt: t.ExpiresAt,
	}
	if p := t.Project; p != nil {
		id.ProjectID, id.ProjectName = p.ID, p.Name
		id.ProjectDomainID, id.ProjectDomainName = p.Domain.ID, p.Domain.Name
	}
	if t.Domain != nil {
		id.DomainID, id.DomainName = t.Domain.ID, t.Domain.Name
	}
	if t.System != nil && t.System.All {
		id.SystemScope = "all"
	}
	if t.AppCred != nil {
		id.AppCredID, id.AppCredUnrestricted = t.AppCred.ID, !t.AppCred.Restricted
	}
	return id
}

// readIssue reads "<RFC 3339 time>;<microseconds>".
func readIssue(h string) (time.Time, time.Duration) {
	at, took, ok := strings.Cut(h, ";")
	if !ok {
		return time.Time{}, 0
	}
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return time.Time{}, 0
	}
	us, err := strconv.ParseInt(took, 10, 64)
	if err != nil || us < 0 {
		return time.Time{}, 0
	}
	return t, time.Duration(us) * time.Microsecond
}
