package glance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// StatusImporting is the status of an image whose data the service fetches.
const StatusImporting = "importing"

// Bounds of one web-download and of all that run at once.
const (
	fetchTime    = time.Hour
	fetchHeader  = 30 * time.Second
	maxRedirects = 3
	maxFetches   = 4
)

// notPublic are networks beyond those that netip has words for.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	// IPv6 addresses that carry an IPv4 address of any kind, and documentation.
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("::/96"),
}

// fetcher gets images from the web for users, and never anything from inside:
// what an address is, is decided when the connection is made, whatever name,
// spelling, redirect or second DNS answer led to it.
type fetcher struct {
	allow  []netip.Prefix // fetched although not public
	ports  []int
	client *http.Client
	slots  chan struct{}
}

func newFetcher(cfg Config) *fetcher {
	f := &fetcher{allow: cfg.ImportAllow, ports: cfg.ImportPorts, slots: make(chan struct{}, maxFetches)}
	if len(f.ports) == 0 {
		f.ports = []int{80, 443}
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: f.control}
	f.client = &http.Client{
		Transport: &http.Transport{ // no proxy: it would connect in our place
			DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second,
			ResponseHeaderTimeout: fetchHeader, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10, DisableKeepAlives: true,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return errors.New("more than 3 redirects")
			}
			return f.checkURL(req.URL)
		},
	}
	return f
}

// control is called with the address of each connection before it is made.
func (f *fetcher) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !f.allowed(ap.Addr()) || !slices.Contains(f.ports, int(ap.Port())) {
		return fmt.Errorf("address %s is not allowed", address)
	}
	return nil
}

func (f *fetcher) allowed(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	in := func(p netip.Prefix) bool { return p.Contains(a) }
	if slices.ContainsFunc(f.allow, in) {
		return true
	}
	return a.IsGlobalUnicast() && !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !slices.ContainsFunc(notPublic, in)
}

// checkURL refuses what can be refused without a connection.
func (f *fetcher) checkURL(u *url.URL) error {
	refuse := func(why string) error { return fault.New(fault.BadRequest, "invalid URI for import: %s", why) }
	if u.Scheme != "http" && u.Scheme != "https" {
		return refuse("only http and https are allowed")
	}
	if u.User != nil || u.Hostname() == "" || u.Opaque != "" {
		return refuse("it must have a host and no user")
	}
	port := map[string]int{"http": 80, "https": 443}[u.Scheme]
	if p := u.Port(); p != "" {
		port, _ = strconv.Atoi(p)
	}
	if !slices.Contains(f.ports, port) {
		return refuse("its port is not allowed")
	}
	a, err := netip.ParseAddr(u.Hostname())
	if err == nil && !f.allowed(a) || err != nil && endsInNumber(u.Hostname()) {
		return refuse("its address is not allowed")
	}
	return nil
}

// endsInNumber finds hosts that some resolvers take for an address in decimal,
// octal or hexadecimal: 2130706433, 0177.0.0.1, 0x7f.1, 127.1.
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	if _, err := strconv.ParseUint(last, 10, 64); err == nil {
		return true
	}
	return strings.HasPrefix(strings.ToLower(last), "0x")
}

// ImportFromWeb claims a queued image and fetches its data from uri in the
// background. If that fails, the image is queued again.
func (s *Service) ImportFromWeb(ctx context.Context, img *Image, uri string) error {
	u, err := url.Parse(uri)
	if err != nil || len(uri) > 2048 {
		return fault.New(fault.BadRequest, "invalid URI for import")
	}
	if err := s.fetcher.checkURL(u); err != nil {
		return err
	}
	select {
	case s.fetcher.slots <- struct{}{}:
	default:
		return fault.New(fault.Unavailable, "%d imports are running, try again later", maxFetches)
	}
	t := &transfer{s: s, img: img, id: s.process + "-" + ids.Hex()[:24], during: StatusImporting}
	if err := t.claim(ctx); err != nil {
		<-s.fetcher.slots
		return err
	}
	ctx = context.WithoutCancel(ctx)
	s.background.Go(func() {
		defer func() { <-s.fetcher.slots }()
		ctx, cancel := context.WithTimeout(ctx, fetchTime)
		defer cancel()
		stop := s.onClose(cancel)
		defer stop()
		if err := t.fetch(ctx, u); err != nil {
			t.abandon(ctx, err)
		}
	})
	return nil
}

// fetch streams the answer of u into the image. What the server says in an
// error is not shown to anybody.
func (t *transfer) fetch(ctx context.Context, u *url.URL) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := t.s.fetcher.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answered %d", resp.StatusCode)
	}
	if resp.ContentLength > t.s.cfg.MaxImageBytes {
		return t.s.tooLarge()
	}
	return t.run(ctx, resp.Body, resp.ContentLength)
}
