package stack

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/hastack/hastack/internal/glance"
	"github.com/hastack/hastack/internal/glance/glanceapi"
	"github.com/hastack/hastack/internal/lifecycle"
	"github.com/hastack/hastack/internal/policy"
)

func buildGlance(ctx context.Context, s *Stack) error {
	d, err := s.open(ctx, "glance", schema("glance")...)
	if err != nil {
		return err
	}
	svc, err := glance.New(glance.Config{Dir: s.cfg.Path("glance"), Peers: s.imagePeers()}, glance.Deps{DB: d, Log: s.log})
	if err != nil {
		return err
	}
	rules, err := policy.New(glance.Rules(), nil)
	if err != nil {
		return err
	}
	s.mount("image", glanceapi.New(svc, glanceapi.Config{
		PublicURL: s.cfg.Endpoints["image"], AuthURL: s.cfg.AuthURL(), Auth: s.auth("glance"), Policy: rules,
		Log: s.log, Metrics: s.metrics,
	}))
	if len(s.cfg.Image.Peers) > 0 {
		s.mux.Handle(glance.StorePath, s.onlyPeers(http.HandlerFunc(svc.ServePeers)))
	}
	s.authenticates("glance")
	s.parts = append(s.parts, lifecycle.Part{
		Name: "glance", Run: svc.Run,
		Stop: func(context.Context) error { return svc.Close() },
	})
	return nil
}

// peerDial bounds the connecting to another server's image service: one that
// is off must not hold up an upload for long.
const peerDial = 2 * time.Second

// imagePeers are the image services of the other servers.
func (s *Stack) imagePeers() glance.Peers {
	c := s.cfg.Image
	if len(c.Peers) == 0 {
		return glance.Peers{}
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy, t.DialContext = nil, (&net.Dialer{Timeout: peerDial}).DialContext
	t.TLSHandshakeTimeout, t.ForceAttemptHTTP2 = peerDial, false
	if s.tls != nil {
		t.TLSClientConfig = s.tls.Client("")
	}
	return glance.Peers{URLs: c.Peers, Self: c.Self, Copies: c.Copies, Transport: t}
}

// onlyPeers lets in only who shows the certificate of a server that is one of
// the image services: other servers of the cloud have certificates too.
func (s *Stack) onlyPeers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 && isPeer(r.TLS.PeerCertificates[0], s.cfg.Image.Peers) {
			next.ServeHTTP(w, r)
			return
		}
		http.Error(w, "only the image services of this cloud are served here", http.StatusForbidden)
	})
}

func isPeer(cert *x509.Certificate, peers []string) bool {
	return slices.ContainsFunc(peers, func(peer string) bool {
		u, err := url.Parse(peer)
		return err == nil && cert.VerifyHostname(u.Hostname()) == nil
	})
}
