package novaapi

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/nova"
)

// Forms of times in Nova's answers.
const (
	isoZ      = "2006-01-02T15:04:05Z"
	isoMicros = "2006-01-02T15:04:05.000000"
)

// A serverView says what one request may see of servers.
type serverView struct {
	*writer
	url        string
	v          httpapi.Microversion
	attributes bool // extended attributes: hosts and internals
	hostStatus bool
	faults     bool // details of faults
	extraSpecs bool
	show       bool // one server, not a list
	short      bool // the answer of an update or rebuild before 2.75
	hostState  map[string]string
}

func (a *API) newServerView(r *httpapi.Request, show bool) *serverView {
	admin := r.Allowed(pre+"os-extended-server-attributes", nil)
	return &serverView{writer: &writer{b: make([]byte, 0, 4096), first: true}, url: a.url, v: r.Version(), show: show,
		attributes: admin, faults: admin, hostStatus: r.Allowed(pre+"servers:show:host_status", nil), extraSpecs: true}
}

func (w *serverView) links(path string) {
	w.arr("links")
	w.link(w.url+"/v2.1"+path, "self")
	w.link(w.url+path, "bookmark")
	w.endArr()
}

func (w *serverView) bookmark(path string) {
	w.arr("links")
	w.link(w.url+path, "bookmark")
	w.endArr()
}

func (w *serverView) link(href, rel string) {
	w.obj("")
	w.str("href", href)
	w.str("rel", rel)
	w.end()
}

// brief is a server in a list without details.
func (w *serverView) brief(s *nova.Server) {
	w.obj("")
	w.str("id", s.ID)
	w.links("/servers/" + s.ID)
	w.str("name", s.Name)
	w.end()
}

// detail writes the server as field k, or as an item of a list with k "".
func (w *serverView) detail(k string, s *nova.Server) {
	w.obj(k)
	w.str("id", s.ID)
	w.str("name", s.Name)
	w.str("status", s.Status())
	w.str("tenant_id", s.ProjectID)
	w.str("user_id", s.UserID)
	w.texts("metadata", s.Metadata)
	w.str("hostId", hostID(s.ProjectID, s.Host))
	w.image(s)
	w.flavor(s)
	w.time("created", s.CreatedAt, isoZ)
	w.time("updated", s.UpdatedAt, isoZ)
	w.addresses(s)
	w.str("accessIPv4", s.AccessIPv4)
	w.str("accessIPv6", s.AccessIPv6)
	w.links("/servers/" + s.ID)
	w.str("OS-DCF:diskConfig", s.DiskConfig)
	if p, ok := progress(s); ok {
		w.num("progress", p)
	}
	w.fault(s)
	if !w.short {
		w.usage(s)
		w.securityGroups(s)
		w.extended(s)
	}
	w.versioned(s)
	w.end()
}

func (w *serverView) usage(s *nova.Server) {
	w.str("OS-EXT-AZ:availability_zone", s.AZ)
	drive := ""
	if s.ConfigDrive {
		drive = "True"
	}
	w.str("config_drive", drive)
	w.orNull("key_name", s.KeyName)
	w.time("OS-SRV-USG:launched_at", s.LaunchedAt, isoMicros)
	w.time("OS-SRV-USG:terminated_at", s.TerminatedAt, isoMicros)
}

func (w *serverView) image(s *nova.Server) {
	if s.ImageID == "" {
		w.str("image", "")
		return
	}
	w.obj("image")
	w.str("id", s.ImageID)
	w.bookmark("/images/" + s.ImageID)
	w.end()
}

func (w *serverView) flavor(s *nova.Server) {
	w.obj("flavor")
	f := &s.Flavor
	if w.v.AtLeast(2, 47) {
		w.num("vcpus", f.VCPUs)
		w.num("ram", f.MemoryMB)
		w.num("disk", f.RootGB)
		w.num("ephemeral", f.EphemeralGB)
		w.num("swap", f.SwapMB)
		w.str("original_name", f.Name)
		if w.extraSpecs {
			w.texts("extra_specs", f.ExtraSpecs)
		}
	} else {
		w.str("id", s.FlavorID)
		w.bookmark("/flavors/" + s.FlavorID)
	}
	w.end()
}

// addresses are stored as they are shown.
func (w *serverView) addresses(s *nova.Server) {
	w.key("addresses")
	if s.Addresses == "" {
		w.b = append(w.b, "{}"...)
		return
	}
	w.b = append(w.b, s.Addresses...)
}

func (w *serverView) securityGroups(s *nova.Server) {
	if len(s.SecurityGroups) == 0 {
		return
	}
	w.arr("security_groups")
	for _, g := range s.SecurityGroups {
		w.obj("")
		w.str("name", g)
		w.end()
	}
	w.endArr()
}

func (w *serverView) fault(s *nova.Server) {
	if s.Fault == nil || s.VMState != nova.Errored && s.VMState != nova.Deleted {
		return
	}
	w.obj("fault")
	w.num("code", s.Fault.Code)
	w.time("created", s.Fault.Created, isoZ)
	w.str("message", s.Fault.Message)
	if w.faults && s.Fault.Details != "" {
		w.str("details", s.Fault.Details)
	}
	w.end()
}

// extended writes states, and for administrators where the server is.
func (w *serverView) extended(s *nova.Server) {
	w.orNull("OS-EXT-STS:task_state", s.TaskState)
	w.str("OS-EXT-STS:vm_state", s.VMState)
	w.num("OS-EXT-STS:power_state", s.PowerState)
	w.arr("os-extended-volumes:volumes_attached")
	w.endArr()
	if w.attributes {
		w.orNull("OS-EXT-SRV-ATTR:host", s.Host)
		w.str("OS-EXT-SRV-ATTR:instance_name", s.InstanceName())
		w.orNull("OS-EXT-SRV-ATTR:hypervisor_hostname", s.Node)
		if w.v.AtLeast(2, 3) {
			w.str("OS-EXT-SRV-ATTR:reservation_id", s.ReservationID)
			w.num("OS-EXT-SRV-ATTR:launch_index", s.LaunchIndex)
			w.str("OS-EXT-SRV-ATTR:kernel_id", "")
			w.str("OS-EXT-SRV-ATTR:ramdisk_id", "")
			w.orNull("OS-EXT-SRV-ATTR:root_device_name", s.RootDevice)
			w.orNull("OS-EXT-SRV-ATTR:user_data", s.UserData)
		}
	}
	if w.v.AtLeast(2, 90) || w.attributes && w.v.AtLeast(2, 3) {
		w.str("OS-EXT-SRV-ATTR:hostname", s.Hostname)
	}
}

// versioned writes what later microversions added.
func (w *serverView) versioned(s *nova.Server) {
	if w.v.AtLeast(2, 9) {
		w.boolean("locked", s.Locked())
	}
	if w.hostStatus && !w.short && w.v.AtLeast(2, 16) {
		w.str("host_status", w.hostState[s.Host])
	}
	if w.v.AtLeast(2, 19) {
		w.orNull("description", s.Description)
	}
	if w.v.AtLeast(2, 26) {
		w.arr("tags")
		for _, t := range s.Tags {
			w.str("", t)
		}
		w.endArr()
	}
	if w.v.AtLeast(2, 63) {
		w.null("trusted_image_certificates")
	}
	if w.show && w.v.AtLeast(2, 71) {
		w.arr("server_groups")
		if s.GroupID != "" {
			w.str("", s.GroupID)
		}
		w.endArr()
	}
	if w.v.AtLeast(2, 73) {
		w.orNull("locked_reason", s.LockedReason)
	}
}

// progress is shown in the states in which Nova shows it.
func progress(s *nova.Server) (int, bool) {
	switch s.Status() {
	case "ACTIVE", "BUILD", "REBUILD":
		if s.VMState == nova.Active && s.TaskState == "" {
			return 0, true
		}
		return s.Progress, true
	}
	return 0, false
}

// hostID is the name that a project knows a host by: the same for its servers
// on one host, different for every project.
func hostID(projectID, host string) string {
	if host == "" {
		return ""
	}
	sum := sha256.Sum224([]byte(projectID + host))
	return hex.EncodeToString(sum[:])
}
