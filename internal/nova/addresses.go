package nova

import (
	"encoding/json"

	"github.com/hastack/hastack/internal/nova/rpc"
)

// Addresses is the JSON object that the API shows as a server's addresses: by
// name of the network, fixed and floating ones. "" is none.
type Addresses string

type shownAddress struct {
	Version int    `json:"version"`
	Addr    string `json:"addr"`
	Type    string `json:"OS-EXT-IPS:type"`
	MAC     string `json:"OS-EXT-IPS-MAC:mac_addr"`
}

// addressesOf prepares the addresses of interfaces.
func addressesOf(vifs []rpc.VIF) Addresses {
	out := map[string][]shownAddress{}
	for _, v := range vifs {
		if out[v.NetworkName] == nil {
			out[v.NetworkName] = []shownAddress{}
		}
		for _, sub := range v.Subnets {
			for _, a := range sub.Addrs {
				out[v.NetworkName] = append(out[v.NetworkName], shownAddress{sub.Version, a.IP, "fixed", v.MAC})
				for _, f := range a.Floating {
					out[v.NetworkName] = append(out[v.NetworkName], shownAddress{4, f, "floating", v.MAC})
				}
			}
		}
	}
	b, err := json.Marshal(out)
	if err != nil || len(out) == 0 {
		return "{}"
	}
	return Addresses(b)
}

// setNetworks puts a server's interfaces into set, in both forms.
func setNetworks(set map[string]any, vifs []rpc.VIF) {
	if vifs == nil {
		vifs = []rpc.VIF{}
	}
	set["info_cache"], set["addresses"] = asJSON(vifs), string(addressesOf(vifs))
}
