package metadata

import (
	"strconv"
	"strings"

	"github.com/hastack/hastack/internal/nova/rpc"
)

// ec2ID is a server's id in EC2's form: the number of its instance name.
func ec2ID(s *rpc.ServerSpec) string {
	return "i-" + strings.TrimPrefix(s.InstanceName, "instance-")
}

// amiID stands for the image: EC2's form has room for eight digits only.
func amiID(s *rpc.ServerSpec) string {
	if len(s.Image.ID) < 8 {
		return "ami-00000000"
	}
	return "ami-" + s.Image.ID[:8]
}

func firstAddresses(s *rpc.ServerSpec) (local, public string) {
	for _, v := range s.Networks {
		for _, sub := range v.Subnets {
			for _, a := range sub.Addrs {
				if sub.Version == 4 && local == "" {
					local = a.IP
				}
				if len(a.Floating) > 0 && public == "" {
					public = a.Floating[0]
				}
			}
		}
	}
	return local, public
}

// ec2Leaves is meta-data/ as one leaf per path.
func ec2Leaves(s *rpc.ServerSpec) map[string]string {
	local, public := firstAddresses(s)
	groups := s.SecurityGroups
	if len(groups) == 0 {
		groups = []string{"default"}
	}
	out := map[string]string{
		"ami-id": amiID(s), "ami-launch-index": strconv.Itoa(s.LaunchIndex), "ami-manifest-path": manifestPath,
		"block-device-mapping/ami": "vda", "block-device-mapping/root": "/dev/vda",
		"hostname": fqdn(s), "instance-action": "none", "instance-id": ec2ID(s), "instance-type": s.Flavor.Name,
		"local-hostname": fqdn(s), "local-ipv4": local, "placement/availability-zone": s.AvailabilityZone,
		"public-hostname": fqdn(s), "public-ipv4": public, "reservation-id": s.ReservationID,
		"security-groups": strings.Join(groups, "\n"),
	}
	if s.Key.Name != "" {
		out["public-keys/0/openssh-key"] = s.Key.PublicKey
	}
	return out
}

// ec2Document is ec2/latest/meta-data.json of the config drive.
func ec2Document(s *rpc.ServerSpec) map[string]any {
	doc := map[string]any{}
	for path, v := range ec2Leaves(s) {
		at := doc
		parts := strings.Split(path, "/")
		for _, p := range parts[:len(parts)-1] {
			next, ok := at[p].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[p] = next
			}
			at = next
		}
		at[parts[len(parts)-1]] = v
	}
	if keys, ok := doc["public-keys"].(map[string]any); ok {
		keys["0"].(map[string]any)["_name"] = "0=" + s.Key.Name
	}
	return doc
}

// manifestPath is the word that Nova answers here too: there are no manifests,
// and scripts compare it.
const manifestPath = "FIXME"
