package novaapi

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/nova/rpc"
)

type createBody struct {
	Server *createServer              `json:"server"`
	Hints  map[string]json.RawMessage `json:"os:scheduler_hints"`
	Hints2 map[string]json.RawMessage `json:"OS-SCH-HNT:scheduler_hints"`
}

type createServer struct {
	Name        *string           `json:"name"`
	ImageRef    string            `json:"imageRef"`
	FlavorRef   text              `json:"flavorRef"`
	AdminPass   string            `json:"adminPass"`
	Metadata    map[string]string `json:"metadata"`
	Networks    json.RawMessage   `json:"networks"`
	DiskConfig  string            `json:"OS-DCF:diskConfig"`
	AccessIPv4  string            `json:"accessIPv4"`
	AccessIPv6  string            `json:"accessIPv6"`
	Personality []struct {
		Path     string `json:"path"`
		Contents string `json:"contents"`
	} `json:"personality"`
	Zone        string                   `json:"availability_zone"`
	KeyName     string                   `json:"key_name"`
	MinCount    number                   `json:"min_count"`
	MaxCount    number                   `json:"max_count"`
	Reservation looseBool                `json:"return_reservation_id"`
	Groups      []namedGroup             `json:"security_groups"`
	UserData    string                   `json:"user_data"`
	ConfigDrive looseBool                `json:"config_drive"`
	BDM         []map[string]any         `json:"block_device_mapping"`
	BDMv2       []blockDevice            `json:"block_device_mapping_v2"`
	Description httpapi.Nullable[string] `json:"description"`
	Tags        []string                 `json:"tags"`
	Trusted     []string                 `json:"trusted_image_certificates"`
	Host        string                   `json:"host"`
	Hypervisor  string                   `json:"hypervisor_hostname"`
	Hostname    string                   `json:"hostname"`
}

type namedGroup struct {
	Name string `json:"name"`
}

type blockDevice struct {
	UUID                string `json:"uuid"`
	SourceType          string `json:"source_type"`
	DestinationType     string `json:"destination_type"`
	BootIndex           any    `json:"boot_index"`
	DeleteOnTermination any    `json:"delete_on_termination"`
	VolumeSize          any    `json:"volume_size"`
	VolumeType          any    `json:"volume_type"`
	DeviceName          any    `json:"device_name"`
	DiskBus             any    `json:"disk_bus"`
	DeviceType          any    `json:"device_type"`
	GuestFormat         any    `json:"guest_format"`
	NoDevice            any    `json:"no_device"`
	VolumeID            any    `json:"volume_id"`
	ImageID             any    `json:"image_id"`
	SnapshotID          any    `json:"snapshot_id"`
	Tag                 any    `json:"tag"`
}

type networkBody struct {
	UUID    *string `json:"uuid"`
	Port    *string `json:"port"`
	FixedIP string  `json:"fixed_ip"`
	Tag     string  `json:"tag"`
}

func (a *API) createServer(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in createBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	req, err := in.request(r)
	if err != nil {
		return nil, err
	}
	if len(req.Networks) > 0 {
		if err := r.EnforceRule(pre+"servers:create:attach_network", nil); err != nil {
			return nil, err
		}
	}
	if req.ForceHost != "" || req.ForceNode != "" {
		rule := pre + "servers:create:forced_host"
		if in.Server.Host != "" || in.Server.Hypervisor != "" {
			rule = pre + "servers:requested_destination"
		}
		if err := r.EnforceRule(rule, nil); err != nil {
			return nil, err
		}
	}
	list, err := a.nova.CreateServers(r.Context(), r.Identity(), req)
	if err != nil {
		return nil, err
	}
	if bool(in.Server.Reservation) {
		return map[string]string{"reservation_id": list[0].ReservationID}, nil
	}
	return a.viewCreated(list[0], in.Server.AdminPass), nil
}

func (a *API) viewCreated(s *nova.Server, password string) httpapi.Response {
	if password == "" {
		password = ids.Hex()[:12]
	}
	groups := []namedGroup{}
	for _, g := range s.SecurityGroups {
		groups = append(groups, namedGroup{g})
	}
	body := map[string]any{"server": map[string]any{
		"id": s.ID, "links": a.links("/servers/" + s.ID), "OS-DCF:diskConfig": s.DiskConfig,
		"security_groups": groups, "adminPass": password,
	}}
	return httpapi.Response{Header: http.Header{"Location": {a.url + "/v2.1/servers/" + s.ID}}, Body: body}
}

// request is the body as the domain takes it, after the checks that belong to
// its form and its microversion.
func (in *createBody) request(r *httpapi.Request) (*nova.ServerRequest, error) {
	s, v := in.Server, r.Version()
	switch {
	case s == nil:
		return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute server: 'server' is a required property")
	case s.Name == nil:
		return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute server: 'name' is a required property")
	case s.FlavorRef == "":
		return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute server: 'flavorRef' is a required property")
	}
	if err := s.checkVersion(v); err != nil {
		return nil, err
	}
	req := &nova.ServerRequest{
		Name: *s.Name, Hostname: s.Hostname, Description: s.Description.Value,
		MinCount: int(s.MinCount), MaxCount: int(s.MaxCount), ImageID: s.ImageRef, FlavorID: string(s.FlavorRef),
		KeyName: s.KeyName, UserData: s.UserData, ConfigDrive: bool(s.ConfigDrive), DiskConfig: s.DiskConfig,
		AccessIPv4: s.AccessIPv4, AccessIPv6: s.AccessIPv6, Metadata: s.Metadata, Tags: s.Tags,
		ForceHost: s.Host, ForceNode: s.Hypervisor,
		IdempotencyKey: r.Header.Get("Idempotency-Key"), RequestID: r.ID(),
	}
	if v.Before(2, 19) {
		req.Description = "" // it is the name in old versions, and not shown
	}
	for _, g := range s.Groups {
		req.SecurityGroups = append(req.SecurityGroups, g.Name)
	}
	if err := s.zone(req); err != nil {
		return nil, err
	}
	if err := s.blockDevices(req); err != nil {
		return nil, err
	}
	if err := s.files(req); err != nil {
		return nil, err
	}
	if err := readNetworks(s.Networks, v, req); err != nil {
		return nil, err
	}
	return req, in.hints(req)
}

// checkVersion refuses fields that the request's microversion does not have.
func (s *createServer) checkVersion(v httpapi.Microversion) error {
	for _, f := range []struct {
		name  string
		set   bool
		minor int
	}{
		{"description", s.Description.Set, 19}, {"tags", s.Tags != nil, 52}, {"trusted_image_certificates", s.Trusted != nil, 63},
		{"host", s.Host != "", 74}, {"hypervisor_hostname", s.Hypervisor != "", 74}, {"hostname", s.Hostname != "", 90},
	} {
		if f.set && v.Before(2, f.minor) {
			return unexpected(f.name)
		}
	}
	if s.Personality != nil && v.AtLeast(2, 57) {
		return unexpected("personality")
	}
	if len(s.Trusted) > 0 {
		return fault.New(fault.NotImplemented, "trusted image certificates are not supported")
	}
	return nil
}

// zone splits zone:host:node, which is an administrator's way to choose.
func (s *createServer) zone(req *nova.ServerRequest) error {
	parts := strings.Split(s.Zone, ":")
	if len(parts) > 3 {
		return fault.New(fault.BadRequest, "Invalid availability zone format")
	}
	req.Zone = parts[0]
	if len(parts) == 1 {
		return nil
	}
	if s.Host != "" || s.Hypervisor != "" {
		return fault.New(fault.BadRequest, "host and hypervisor_hostname cannot be given with a host in the availability zone")
	}
	req.ForceHost = parts[1]
	if len(parts) == 3 {
		req.ForceNode = parts[2]
	}
	return nil
}

// blockDevices takes the one layout there is: a local disk from the image.
func (s *createServer) blockDevices(req *nova.ServerRequest) error {
	if len(s.BDM) > 0 {
		return fault.New(fault.NotImplemented, "block_device_mapping: volumes are not supported yet")
	}
	for _, d := range s.BDMv2 {
		switch {
		case d.SourceType == "volume" || d.SourceType == "snapshot" || d.DestinationType == "volume":
			return fault.New(fault.NotImplemented, "block_device_mapping_v2: volumes are not supported yet")
		case d.SourceType == "blank":
			return fault.New(fault.NotImplemented, "block_device_mapping_v2: further local disks are not supported yet")
		case d.SourceType != "image" || d.DestinationType != "" && d.DestinationType != "local":
			return fault.New(fault.BadRequest, "Block Device Mapping is Invalid: source_type %q, destination_type %q", d.SourceType, d.DestinationType)
		case req.ImageID != "" && req.ImageID != d.UUID:
			return fault.New(fault.BadRequest, "Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping combination is not valid.")
		}
		req.ImageID = d.UUID
	}
	if req.ImageID == "" {
		return fault.New(fault.BadRequest, "Invalid imageRef provided.")
	}
	return nil
}

// Bounds of personality, Nova's default quotas.
const (
	maxFiles     = 5
	maxFileBytes = 10 << 10
)

func (s *createServer) files(req *nova.ServerRequest) error {
	if len(s.Personality) > maxFiles {
		return fault.New(fault.Forbidden, "Quota exceeded, too many files to inject")
	}
	for _, p := range s.Personality {
		data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(p.Contents), ""))
		if err != nil {
			return fault.New(fault.BadRequest, "Personality content for %s cannot be decoded", p.Path)
		}
		if len(p.Path) > 255 || len(data) > maxFileBytes || strings.ContainsRune(p.Path, 0) {
			return fault.New(fault.Forbidden, "Quota exceeded, the path or the content of an injected file is too long")
		}
		req.Files = append(req.Files, rpc.File{Path: p.Path, Contents: data})
	}
	return nil
}

func readNetworks(raw json.RawMessage, v httpapi.Microversion, req *nova.ServerRequest) error {
	if len(raw) == 0 || string(raw) == "null" {
		if v.AtLeast(2, 37) {
			return fault.New(fault.BadRequest, "Invalid input for field/attribute server: 'networks' is a required property")
		}
		return nil
	}
	var word string
	if json.Unmarshal(raw, &word) == nil {
		switch {
		case v.Before(2, 37) || word != "none" && word != "auto":
			return fault.New(fault.BadRequest, "Invalid input for field/attribute networks. Value: %.40s", word)
		case word == "none":
			req.NoNetworks = true
		default:
			req.AutoNetwork = true
		}
		return nil
	}
	var list []networkBody
	if err := httpapi.DecodeJSON(raw, &list, true); err != nil {
		return err
	}
	for _, n := range list {
		net := rpc.RequestedNetwork{FixedIP: n.FixedIP, Tag: n.Tag}
		switch {
		case n.Port != nil && *n.Port != "":
			net.PortID = *n.Port
			if n.FixedIP != "" {
				return fault.New(fault.BadRequest, "Specified Fixed IP '%s' cannot be used with port '%s'", n.FixedIP, *n.Port)
			}
		case n.UUID != nil:
			net.NetworkID = *n.UUID
		default:
			return fault.New(fault.BadRequest, "Bad networks format: network uuid is not in proper format")
		}
		if n.Tag != "" && (v.Before(2, 32) || v.AtLeast(2, 37) && v.Before(2, 42)) {
			return unexpected("tag")
		}
		req.Networks = append(req.Networks, net)
	}
	if len(list) == 0 && v.AtLeast(2, 37) {
		return fault.New(fault.BadRequest, "Invalid input for field/attribute networks: [] is too short")
	}
	return nil
}

func (in *createBody) hints(req *nova.ServerRequest) error {
	raw := in.Hints
	if raw == nil {
		raw = in.Hints2
	}
	for k, b := range raw {
		var one text
		var many []string
		switch {
		case json.Unmarshal(b, &one) == nil:
			many = []string{string(one)}
		case json.Unmarshal(b, &many) == nil:
		default:
			return fault.New(fault.BadRequest, "Invalid input for field/attribute scheduler hint %.40s", k)
		}
		if len(many) > 64 {
			return fault.New(fault.BadRequest, "scheduler hint %.40s has too many values", k)
		}
		if k == "same_host" || k == "different_host" {
			for _, id := range many {
				if !ids.IsUUID(id) {
					return fault.New(fault.BadRequest, "scheduler hint %s must be the UUID of a server", k)
				}
			}
		}
		if req.Hints == nil {
			req.Hints = map[string][]string{}
		}
		req.Hints[k] = many
	}
	return nil
}

// text is a string that clients also send as a number.
type text string

// UnmarshalJSON takes a string or a whole number.
func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
		return nil
	}
	var n int64
	if err := json.Unmarshal(b, &n); err != nil {
		return fault.New(fault.BadRequest, "%.40s is neither a string nor a whole number", b)
	}
	*t = text(strconv.FormatInt(n, 10))
	return nil
}

// number is a whole number that clients also send as a string.
type number int

// UnmarshalJSON takes a whole number, or one in quotes.
func (n *number) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseInt(strings.Trim(string(b), `"`), 10, 31)
	if err != nil {
		return fault.New(fault.BadRequest, "%.40s is not a whole number", b)
	}
	*n = number(v)
	return nil
}

// looseBool is a boolean in every form that Nova's schemas take, and no other:
// anything else is refused, never taken for false.
type looseBool bool

// UnmarshalJSON takes true, false and the words Nova takes for them.
func (v *looseBool) UnmarshalJSON(b []byte) error {
	switch strings.ToLower(strings.Trim(string(b), `"`)) {
	case "true", "1", "on", "yes", "t", "y":
		*v = true
	case "false", "0", "off", "no", "f", "n", "":
		*v = false
	default:
		return fault.New(fault.BadRequest, "%.40s is not a boolean", b)
	}
	return nil
}
