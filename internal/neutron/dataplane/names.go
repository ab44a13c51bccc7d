package dataplane

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// The prefixes of what this package makes.
const (
	prefixBridge   = "brq"
	prefixTap      = "tap"
	prefixVXLAN    = "vx-"
	prefixDHCPNS   = "qdhcp-"
	prefixRouterNS = "qrouter-"
	prefixDHCPDev  = "ns-"
	prefixRouter   = "qr-"
	prefixGateway  = "qg-"
)

// cut11 is how Neutron shortens an id to fit an interface name.
func cut11(id string) string {
	if len(id) > 11 {
		return id[:11]
	}
	return id
}

// TapName is the device of a port on the host: nova-compute makes it for a
// server, this package for routers and DHCP.
func TapName(portID string) string { return prefixTap + cut11(portID) }

// BridgeName is the bridge of a network without a bridge mapping.
func BridgeName(networkID string) string { return prefixBridge + cut11(networkID) }

// VXLANName is the tunnel device of a segment.
func VXLANName(vni int) string { return prefixVXLAN + strconv.Itoa(vni) }

// DHCPNamespace is where a network's DHCP server lives.
func DHCPNamespace(networkID string) string { return prefixDHCPNS + networkID }

// RouterNamespace is where a router lives.
func RouterNamespace(routerID string) string { return prefixRouterNS + routerID }

// Tag is the mark of a state directory on everything made for it.
func Tag(stateDir string) string {
	abs, err := filepath.Abs(stateDir)
	if err != nil {
		abs = stateDir
	}
	sum := sha256.Sum256([]byte(abs))
	return hex.EncodeToString(sum[:4])
}

// The kinds of owner an alias may name.
const (
	ownerNetwork  = "network"
	ownerPort     = "port"
	ownerRouter   = "router"
	ownerDHCP     = "dhcp"
	ownerExternal = "external"
)

// An owner is what a device's alias says: whose it is and for what.
type owner struct {
	tag, kind, id string
	zone          uint16 // conntrack zone of a network's bridge
}

func (o owner) String() string {
	s := "hastack:" + o.tag + ":" + o.kind + ":" + o.id
	if o.zone != 0 {
		s += ":" + strconv.Itoa(int(o.zone))
	}
	return s
}

// parseOwner reads an alias; ok is false for what is not ours.
func parseOwner(alias string) (o owner, ok bool) {
	f := strings.Split(alias, ":")
	if len(f) < 4 || f[0] != "hastack" {
		return owner{}, false
	}
	o = owner{tag: f[1], kind: f[2], id: f[3]}
	if len(f) > 4 {
		z, err := strconv.ParseUint(f[4], 10, 16)
		if err != nil {
			return owner{}, false
		}
		o.zone = uint16(z)
	}
	return o, true
}

// chainID turns an id into a word nft takes in chain and set names.
func chainID(id string) (string, error) {
	if id == "" || len(id) > 64 {
		return "", fmt.Errorf("id %q cannot name a chain", id)
	}
	for _, r := range id {
		ok := r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !ok {
			return "", fmt.Errorf("id %q cannot name a chain", id)
		}
	}
	return strings.ReplaceAll(id, "-", "_"), nil
}
