package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/hastack/hastack/internal/tlsfiles"
)

// newDatabase makes what watches the database of this server and what brings
// it back.
func newDatabase(cfg *Config, deps Deps, files *tlsfiles.Files) (*galera, error) {
	ask := &askState{clients: map[string]*http.Client{}, urls: map[string]string{}}
	for _, p := range cfg.Peers {
		if !slices.Contains(cfg.Galera.Members, p.Name) {
			continue
		}
		ask.urls[p.Name] = "https://" + p.Address.String() + "/state"
		ask.clients[p.Name] = &http.Client{
			Timeout: 2 * time.Second,
			Transport: &http.Transport{
				TLSClientConfig: files.Client(p.Name), DisableKeepAlives: true, TLSHandshakeTimeout: 2 * time.Second,
			},
		}
	}
	recovery := &galeraRecovery{
		name: cfg.Server, members: cfg.Galera.Members, clock: deps.Clock, log: deps.Log, host: systemdHost{},
		ask: func(ctx context.Context, member string) (*Galera, error) {
			s, err := ask.of(ctx, member)
			if err != nil {
				return nil, err
			}
			return s.Galera, nil
		},
	}
	g, err := newGalera(cfg.Galera, deps, systemdHost{}, recovery)
	if err != nil {
		return nil, err
	}
	recovery.own = g.status
	return g, nil
}

// askState asks the agents of other servers what they know.
type askState struct {
	clients map[string]*http.Client
	urls    map[string]string
}

func (a *askState) of(ctx context.Context, server string) (*State, error) {
	client := a.clients[server]
	if client == nil {
		return nil, fmt.Errorf("%s is not a peer of this server", server)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.urls[server], nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the agent of %s: %w", server, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the agent of %s: %s", server, resp.Status)
	}
	var s State
	if err := json.NewDecoder(io.LimitReader(resp.Body, 4<<20)).Decode(&s); err != nil {
		return nil, fmt.Errorf("ask the agent of %s: %w", server, err)
	}
	return &s, nil
}
