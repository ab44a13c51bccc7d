package glance

import (
	"net/netip"
	"net/url"
	"testing"
)

func TestSec19OnlyPublicAddressesAreFetched(t *testing.T) {
	f := newFetcher(Config{})
	for _, a := range []string{
		"127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "198.18.0.1",
		"224.0.0.1", "255.255.255.255", "240.0.0.1", "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "fe80::1", "fe80::1%eth0",
		"fc00::1", "fd00::1", "ff02::1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:1::", "fec0::1",
	} {
		if f.allowed(netip.MustParseAddr(a)) {
			t.Errorf("%s is fetched", a)
		}
		if err := f.control("tcp", netip.AddrPortFrom(netip.MustParseAddr(a), 80).String(), nil); err == nil {
			t.Errorf("%s is connected to", a)
		}
	}
	for _, a := range []string{"1.1.1.1", "151.101.2.132", "2a04:4e42::644"} {
		if !f.allowed(netip.MustParseAddr(a)) {
			t.Errorf("%s is refused", a)
		}
	}
	if err := f.control("tcp", "1.1.1.1:22", nil); err == nil {
		t.Error("port 22 is connected to")
	}
	for _, raw := range []string{
		"file:///etc/passwd", "ftp://example.org/x", "gopher://example.org/", "http://", "http:///x", "http://user:pw@example.org/",
		"http://example.org:22/", "http://127.0.0.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http:example.org", "//example.org/x",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			continue
		}
		if f.checkURL(u) == nil {
			t.Errorf("%s is fetched", raw)
		}
	}
}
