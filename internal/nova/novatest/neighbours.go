package novatest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/hastack/hastack/internal/ids"
)

// Neighbours are Keystone, Glance, Neutron and Placement as far as Nova asks
// them: real HTTP, with the rules that matter to it (unique names, generations,
// no more than there is), and a switch to make any call fail.
type Neighbours struct {
	url string

	mu       sync.Mutex // guards all below
	calls    map[string]int
	images   map[string]map[string]any
	networks map[string]map[string]any
	ports    map[string]map[string]any
	groups   []map[string]any
	provs    map[string]*provider
	claims   map[string]*claim
	fail     map[string]int // "METHOD /path prefix" → status
	nextIP   int
}

type provider struct {
	ID         string
	Name       string
	Generation int
	Inventory  map[string]inventory
}

type inventory struct {
	Total    int     `json:"total"`
	Reserved int     `json:"reserved"`
	Ratio    float64 `json:"allocation_ratio"`
}

type claim struct {
	Generation int
	ProjectID  string
	Resources  map[string]map[string]int // by provider
}

func newNeighbours() *Neighbours {
	return &Neighbours{calls: map[string]int{}, images: map[string]map[string]any{}, networks: map[string]map[string]any{},
		ports: map[string]map[string]any{}, provs: map[string]*provider{}, claims: map[string]*claim{}, fail: map[string]int{}, groups: firstGroups()}
}

// Fail makes calls whose "METHOD /path" begin so answer with status; 0 ends it.
func (n *Neighbours) Fail(prefix string, status int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fail[prefix] = status
}

// Calls counts the calls whose "METHOD /path" begin so.
func (n *Neighbours) Calls(prefix string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	sum := 0
	for k, c := range n.calls {
		if strings.HasPrefix(k, prefix) {
			sum += c
		}
	}
	return sum
}

// Claims is how many servers have an allocation.
func (n *Neighbours) Claims() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.claims)
}

// HasRoom tells whether a host's capacity is known to Placement.
func (n *Neighbours) HasRoom(host string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.provs {
		if p.Name == host && len(p.Inventory) > 0 {
			return true
		}
	}
	return false
}

// ClaimHost is the host on which a server has its allocation, "" for none.
func (n *Neighbours) ClaimHost(serverID string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.claims[serverID]; c != nil {
		for id := range c.Resources {
			return n.provs[id].Name
		}
	}
	return ""
}

// Ports are the ids of the ports of a server, of all with "".
func (n *Neighbours) Ports(serverID string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := []string{}
	for id, p := range n.ports {
		if serverID == "" || p["device_id"] == serverID {
			list = append(list, id)
		}
	}
	return list
}

// AddImage adds an active image and returns its id; attrs override.
func (n *Neighbours) AddImage(attrs map[string]any) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	id := ids.UUID()
	img := map[string]any{"id": id, "name": "cirros", "status": "active", "min_disk": 0, "min_ram": 0, "size": 1 << 20,
		"disk_format": "qcow2", "container_format": "bare"}
	maps.Copy(img, attrs)
	n.images[id] = img
	return id
}

// AddNetwork adds a network with one subnet and returns its id.
func (n *Neighbours) AddNetwork(name, projectID string, shared bool) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	id := ids.UUID()
	n.networks[id] = map[string]any{"id": id, "name": name, "project_id": projectID, "shared": shared, "router:external": false,
		"mtu": 1450, "subnets": []string{ids.UUID()}}
	return id
}

// AddPort adds a port of a user and returns its id.
func (n *Neighbours) AddPort(networkID, projectID string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.port(map[string]any{"network_id": networkID, "project_id": projectID, "device_id": ""})["id"].(string)
}

// port makes a port with mu held.
func (n *Neighbours) port(attrs map[string]any) map[string]any {
	n.nextIP++
	id := ids.UUID()
	p := map[string]any{"id": id, "mac_address": fmt.Sprintf("fa:16:3e:00:%02x:%02x", n.nextIP>>8, n.nextIP&255), "status": "ACTIVE",
		"binding:vif_type": "bridge", "security_groups": []string{"5ec00000-0000-4000-8000-000000000001"}}
	maps.Copy(p, attrs)
	if p["fixed_ips"] == nil {
		if net := n.networks[fmt.Sprint(p["network_id"])]; net != nil {
			p["fixed_ips"] = []map[string]any{{"subnet_id": net["subnets"].([]string)[0], "ip_address": fmt.Sprintf("10.0.%d.%d", n.nextIP>>8, n.nextIP&255)}}
		}
	}
	n.ports[id] = p
	return p
}

// ServeHTTP answers /identity, /image, /network and /placement.
func (n *Neighbours) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := r.Method + " " + r.URL.Path
	n.calls[key]++
	for prefix, status := range n.fail {
		if status != 0 && strings.HasPrefix(key, prefix) {
			reply(w, status, map[string]any{"error": map[string]any{"message": "made to fail", "code": status}})
			return
		}
	}
	var body map[string]any
	if r.Body != nil {
		_ = json.NewDecoder(r.Body).Decode(&body)
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) == 1 && parts[0] != "identity" {
		n.versions(w, parts[0])
		return
	}
	switch parts[0] {
	case "identity":
		n.identity(w)
	case "image":
		n.image(w, r, parts[2:], body)
	case "network":
		n.network(w, r, parts[2:], body)
	case "placement":
		n.placement(w, r, parts[1:], body)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// versions is the document by which gophercloud finds a service's version.
func (n *Neighbours) versions(w http.ResponseWriter, service string) {
	v := map[string]string{"image": "v2.0", "network": "v2.0", "placement": "v1.0"}[service]
	path := map[string]string{"image": "/image/v2/", "network": "/network/v2.0/", "placement": "/placement/"}[service]
	reply(w, 200, map[string]any{"versions": []map[string]any{{"id": v, "status": "CURRENT", "min_version": "1.0", "max_version": "1.39",
		"links": []map[string]any{{"rel": "self", "href": n.url + path}}}}})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if v != nil {
		_ = json.NewEncoder(w).Encode(v) // the client of a test may have gone
	}
}

// identity issues the token of the service's user, with the catalog.
func (n *Neighbours) identity(w http.ResponseWriter) {
	var catalog []map[string]any
	for typ, path := range map[string]string{"image": "/image", "network": "/network", "placement": "/placement", "identity": "/identity/v3", "compute": "/compute/v2.1"} {
		catalog = append(catalog, map[string]any{"type": typ, "name": typ, "id": typ, "endpoints": []map[string]any{
			{"id": typ, "interface": "internal", "region": "RegionOne", "region_id": "RegionOne", "url": n.url + path}}})
	}
	w.Header().Set("X-Subject-Token", "service")
	reply(w, 201, map[string]any{"token": map[string]any{"expires_at": "2099-01-01T00:00:00.000000Z", "issued_at": "2020-01-01T00:00:00.000000Z",
		"catalog": catalog, "methods": []string{"password"}, "user": map[string]any{"id": "nova", "name": "nova", "domain": map[string]any{"id": "default", "name": "Default"}}}})
}

func (n *Neighbours) image(w http.ResponseWriter, r *http.Request, parts []string, body map[string]any) {
	switch {
	case r.Method == "POST":
		id := ids.UUID()
		body["id"], body["status"] = id, "queued"
		n.images[id] = body
		reply(w, 201, body)
	case len(parts) < 2 || n.images[parts[1]] == nil:
		reply(w, 404, map[string]any{"message": "no such image"})
	case r.Method == "DELETE":
		delete(n.images, parts[1])
		w.WriteHeader(204)
	case r.Method == "PUT":
		n.images[parts[1]]["status"] = "active"
		w.WriteHeader(204)
	default:
		reply(w, 200, n.images[parts[1]])
	}
}

// HasImage tells whether Glance has the image.
func (n *Neighbours) HasImage(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.images[id] != nil
}

func (n *Neighbours) network(w http.ResponseWriter, r *http.Request, parts []string, body map[string]any) {
	kind, id := parts[0], ""
	if len(parts) > 1 {
		id = parts[1]
	}
	switch {
	case kind == "ports":
		n.servePorts(w, r, id, body)
	case kind == "networks" && id != "":
		if net := n.networks[id]; net != nil {
			reply(w, 200, map[string]any{"network": net})
			return
		}
		reply(w, 404, map[string]any{"NeutronError": map[string]any{"type": "NetworkNotFound", "message": "no such network"}})
	case kind == "networks":
		reply(w, 200, map[string]any{"networks": n.seen(r.Header.Get("X-Auth-Token"))})
	case kind == "subnets":
		list := []map[string]any{}
		if net := n.networks[r.URL.Query().Get("network_id")]; net != nil {
			list = append(list, map[string]any{"id": net["subnets"].([]string)[0], "network_id": net["id"], "cidr": "10.0.0.0/16", "ip_version": 4,
				"gateway_ip": "10.0.0.1", "enable_dhcp": true})
		}
		reply(w, 200, map[string]any{"subnets": list})
	case kind == "security-groups":
		n.serveGroups(w, r, id, body)
	case kind == "security-group-rules":
		n.serveGroupRules(w, r, id, body)
	case id != "":
		reply(w, 404, map[string]any{"NeutronError": map[string]any{"type": "HTTPNotFound", "message": "no such resource"}})
	default:
		reply(w, 200, map[string]any{kind: []any{}})
	}
}

// seen are the networks that a token sees: those of its project and shared ones.
func (n *Neighbours) seen(token string) []map[string]any {
	list := []map[string]any{}
	id := personas()[token]
	for _, key := range sorted(n.networks) {
		net := n.networks[key]
		if id == nil || id.IsAdmin() || net["shared"] == true || net["project_id"] == id.ProjectID {
			list = append(list, net)
		}
	}
	return list
}

func (n *Neighbours) servePorts(w http.ResponseWriter, r *http.Request, id string, body map[string]any) {
	if id == "" && r.Method == "POST" {
		reply(w, 201, map[string]any{"port": n.port(body["port"].(map[string]any))})
		return
	}
	if id == "" {
		list := []map[string]any{}
		for _, key := range sorted(n.ports) {
			if dev := r.URL.Query().Get("device_id"); dev == "" || n.ports[key]["device_id"] == dev {
				list = append(list, n.ports[key])
			}
		}
		reply(w, 200, map[string]any{"ports": list})
		return
	}
	p := n.ports[id]
	switch {
	case p == nil:
		reply(w, 404, map[string]any{"NeutronError": map[string]any{"type": "PortNotFound", "message": "no such port"}})
	case r.Method == "DELETE":
		delete(n.ports, id)
		w.WriteHeader(204)
	case r.Method == "PUT":
		maps.Copy(p, body["port"].(map[string]any))
		fallthrough
	default:
		reply(w, 200, map[string]any{"port": p})
	}
}

func sorted[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

func atoi(s string) int {
	v, _ := strconv.Atoi(s)
	return v
}
