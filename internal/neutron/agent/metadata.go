package agent

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/neutron/dataplane"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// The bounds of what a guest may ask and be told.
const (
	maxMetadataRequest  = 64 << 10
	maxMetadataResponse = 16 << 20
	maxMetadataHeader   = 16 << 10
	metadataTimeout     = 50 * time.Second
	metadataAtOnce      = 64 // requests in flight, over all guests of the host
)

// A metadataProxy answers guests at 169.254.169.254: it listens inside every
// router and DHCP namespace, finds out by the source address (which the packet
// filter has checked) which server is asking, and passes the request on to
// nova-metadata with a signature that a guest cannot make.
type metadataProxy struct {
	host      *dataplane.Host
	bus       bus.Bus
	log       *slog.Logger
	base      *url.URL
	secret    config.Secret
	transport http.RoundTripper
	slots     chan struct{}

	mu        sync.Mutex // guards the maps
	listening map[string]*metadataListener
	foreign   map[string]uint64 // namespaces seen not to be ours
}

type metadataListener struct {
	namespace uint64
	server    *http.Server
	done      chan struct{}
}

func newMetadataProxy(cfg Config, deps Deps, host *dataplane.Host) (*metadataProxy, error) {
	base, err := url.Parse(cfg.MetadataURL)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("metadata url %q is not a url", cfg.MetadataURL)
	}
	p := &metadataProxy{
		host: host, bus: deps.Bus, log: deps.Log, base: base, secret: cfg.MetadataSecret,
		transport: deps.Transport, slots: make(chan struct{}, metadataAtOnce),
		listening: map[string]*metadataListener{}, foreign: map[string]uint64{},
	}
	if p.transport == nil {
		p.transport = http.DefaultTransport
	}
	return p, nil
}

// ensure makes the proxy listen in every namespace of ours, again in one that
// was rebuilt, and no more where there is none.
func (p *metadataProxy) ensure(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted, foreign := map[string]bool{}, map[string]uint64{}
	defer func() { p.foreign = foreign }()
	for _, ns := range p.host.NamespaceNames() {
		id := dataplane.NamespaceID(ns.Name)
		if id == 0 {
			continue
		}
		if p.foreign[ns.Name] == id {
			foreign[ns.Name] = id
			continue
		}
		wanted[ns.Name] = true
		if l := p.listening[ns.Name]; l != nil {
			if l.namespace == id {
				continue
			}
			l.close()
			delete(p.listening, ns.Name)
		}
		if !p.host.Owned(ns.Name) {
			foreign[ns.Name] = id
			continue
		}
		l, err := p.listen(ctx, ns)
		if err != nil {
			// The address comes with the namespace's device, a moment later.
			p.log.Debug("metadata proxy cannot listen yet", "namespace", ns.Name, "error", err)
			continue
		}
		l.namespace = id
		p.listening[ns.Name] = l
	}
	for name, l := range p.listening {
		if !wanted[name] {
			l.close()
			delete(p.listening, name)
		}
	}
}

func (p *metadataProxy) listen(ctx context.Context, ns dataplane.NamespaceThing) (*metadataListener, error) {
	address := fmt.Sprintf("0.0.0.0:%d", dataplane.MetadataPort)
	lookup := rpc.MetadataLookupArgs{RouterID: ns.Owner}
	if ns.Kind == "dhcp" {
		address = "169.254.169.254:80"
		lookup = rpc.MetadataLookupArgs{NetworkID: ns.Owner}
	}
	sock, err := dataplane.Listen(ctx, ns.Name, address)
	if err != nil {
		return nil, err
	}
	l := &metadataListener{done: make(chan struct{}), server: &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, lookup) }),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 60 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: maxMetadataHeader,
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}}
	go func() {
		defer close(l.done)
		_ = l.server.Serve(sock)
	}()
	return l, nil
}

func (l *metadataListener) close() {
	_ = l.server.Close()
	<-l.done
}

func (p *metadataProxy) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, l := range p.listening {
		l.close()
		delete(p.listening, name)
	}
}

// serve answers one request of a guest.
func (p *metadataProxy) serve(w http.ResponseWriter, r *http.Request, lookup rpc.MetadataLookupArgs) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	default:
		http.Error(w, "busy, try again", http.StatusServiceUnavailable)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), metadataTimeout)
	defer cancel()
	from, err := remoteIP(r)
	if err != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	lookup.Address = from.String()
	who, err := p.whoAsks(ctx, lookup)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			http.Error(w, "no server has this address", http.StatusNotFound)
			return
		}
		p.log.Warn("metadata request cannot be placed", "address", from, "error", err)
		http.Error(w, "metadata is not available", http.StatusServiceUnavailable)
		return
	}
	if err := p.forward(ctx, w, r, from, lookup, who); err != nil {
		p.log.Warn("metadata request was not answered", "server_id", who.InstanceID, "error", err)
	}
}

func remoteIP(r *http.Request) (netip.Addr, error) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, err
	}
	a, err := netip.ParseAddr(host)
	return a.Unmap(), err
}

func (p *metadataProxy) whoAsks(ctx context.Context, args rpc.MetadataLookupArgs) (*rpc.MetadataLookupReply, error) {
	var who rpc.MetadataLookupReply
	if err := p.bus.Call(ctx, bus.Target{Topic: rpc.Topic}, rpc.MethodMetadataLookup, args, &who); err != nil {
		return nil, err
	}
	if who.InstanceID == "" || who.ProjectID == "" {
		return nil, fault.New(fault.NotFound, "address %s is of no server", args.Address)
	}
	return &who, nil
}

// forward passes the request on. Nothing of the guest's headers goes with it
// but what describes the body: the rest could claim another identity.
func (p *metadataProxy) forward(ctx context.Context, w http.ResponseWriter, r *http.Request, from netip.Addr, lookup rpc.MetadataLookupArgs, who *rpc.MetadataLookupReply) error {
	u := *p.base
	u.Path = strings.TrimSuffix(u.Path, "/") + "/" + strings.TrimPrefix(r.URL.Path, "/")
	u.RawQuery = r.URL.RawQuery
	body := http.MaxBytesReader(w, r.Body, maxMetadataRequest)
	out, err := http.NewRequestWithContext(ctx, r.Method, u.String(), body)
	if err != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return err
	}
	out.ContentLength = r.ContentLength
	if r.ContentLength == 0 {
		out.Body = http.NoBody
	}
	for _, name := range []string{"Accept", "Content-Type", "User-Agent"} {
		if v := r.Header.Get(name); v != "" {
			out.Header.Set(name, v)
		}
	}
	out.Header.Set("X-Forwarded-For", from.String())
	out.Header.Set("X-Instance-Id", who.InstanceID)
	out.Header.Set("X-Tenant-Id", who.ProjectID)
	out.Header.Set("X-Instance-Id-Signature", Sign(p.secret, who.InstanceID))
	if lookup.RouterID != "" {
		out.Header.Set("X-Neutron-Router-Id", lookup.RouterID)
	} else {
		out.Header.Set("X-Neutron-Network-Id", lookup.NetworkID)
	}
	resp, err := p.transport.RoundTrip(out)
	if err != nil {
		http.Error(w, "metadata is not available", http.StatusBadGateway)
		return err
	}
	defer resp.Body.Close()
	for _, name := range []string{"Content-Type", "Content-Length", "Last-Modified", "Etag", "Location"} {
		if v := resp.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(resp.StatusCode)
	_, err = io.Copy(w, io.LimitReader(resp.Body, maxMetadataResponse))
	return err
}

// Sign is the proof that nova-metadata asks for: HMAC-SHA256 of the server's
// id under the secret both sides know, in hex.
func Sign(secret config.Secret, instanceID string) string {
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write([]byte(instanceID))
	return hex.EncodeToString(mac.Sum(nil))
}
