package novaapi

import (
	"net/http"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/nova/rpc"
)

func (a *API) addInterfaceRoutes() {
	const s = "/servers/{server_id}/os-interface"
	a.get(s, pre+"os-attach-interfaces:list", a.listInterfaces)
	a.post(s, pre+"os-attach-interfaces:create", http.StatusOK, a.createInterface)
	a.get(s+"/{port_id}", pre+"os-attach-interfaces:show", a.showInterface)
	a.del(s+"/{port_id}", pre+"os-attach-interfaces:delete", http.StatusAccepted, a.deleteInterface)
	const v = "/servers/{server_id}/os-volume_attachments"
	a.get(v, pre+"os-volumes-attachments:index", a.listVolumes)
	a.get(v+"/{volume_id}", pre+"os-volumes-attachments:show", a.showVolume)
	a.post(v, pre+"os-volumes-attachments:create", http.StatusOK, a.noVolumes)
	a.put(v+"/{volume_id}", pre+"os-volumes-attachments:update", a.noVolumes)
	a.del(v+"/{volume_id}", pre+"os-volumes-attachments:delete", http.StatusAccepted, a.showVolume)
}

func viewInterface(v *rpc.VIF, r *httpapi.Request) map[string]any {
	ips := []map[string]string{}
	for _, sub := range v.Subnets {
		for _, addr := range sub.Addrs {
			ips = append(ips, map[string]string{"ip_address": addr.IP, "subnet_id": sub.ID})
		}
	}
	state := "DOWN"
	if v.Active {
		state = "ACTIVE"
	}
	out := map[string]any{"port_id": v.PortID, "net_id": v.NetworkID, "mac_addr": v.MAC, "port_state": state, "fixed_ips": ips}
	if r.Version().AtLeast(2, 70) {
		out["tag"] = orNil(v.Tag)
	}
	return out
}

func (a *API) listInterfaces(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	list := []map[string]any{}
	for i := range s.InfoCache {
		list = append(list, viewInterface(&s.InfoCache[i], r))
	}
	return map[string]any{"interfaceAttachments": list}, nil
}

func (a *API) showInterface(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	for i := range s.InfoCache {
		if s.InfoCache[i].PortID == r.PathValue("port_id") {
			return map[string]any{"interfaceAttachment": viewInterface(&s.InfoCache[i], r)}, nil
		}
	}
	return nil, fault.New(fault.NotFound, "Port id %.60s could not be found.", r.PathValue("port_id"))
}

type interfaceBody struct {
	Attachment *struct {
		NetID    string `json:"net_id"`
		PortID   string `json:"port_id"`
		Tag      string `json:"tag"`
		FixedIPs []struct {
			IP string `json:"ip_address"`
		} `json:"fixed_ips"`
	} `json:"interfaceAttachment"`
}

func (a *API) createInterface(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	var in interfaceBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	var net rpc.RequestedNetwork
	if c := in.Attachment; c != nil {
		net = rpc.RequestedNetwork{NetworkID: c.NetID, PortID: c.PortID, Tag: c.Tag}
		switch {
		case c.NetID != "" && c.PortID != "":
			return nil, fault.New(fault.BadRequest, "Must not input both network_id and port_id")
		case len(c.FixedIPs) > 1:
			return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute fixed_ips: one address at most")
		case len(c.FixedIPs) == 1 && c.NetID == "":
			return nil, fault.New(fault.BadRequest, "Must input network_id when request IP address")
		case c.Tag != "" && r.Version().Before(2, 49):
			return nil, unexpected("tag")
		case len(c.FixedIPs) == 1:
			net.FixedIP = c.FixedIPs[0].IP
		}
	}
	vif, err := a.nova.AttachInterface(r.Context(), a.action(r, s), net)
	if err != nil {
		return nil, err
	}
	return map[string]any{"interfaceAttachment": viewInterface(vif, r)}, nil
}

func (a *API) deleteInterface(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	return nil, a.nova.DetachInterface(r.Context(), a.action(r, s), r.PathValue("port_id"))
}

func (a *API) listVolumes(r *httpapi.Request) (any, error) {
	if _, err := a.server(r); err != nil {
		return nil, err
	}
	return map[string]any{"volumeAttachments": []any{}}, nil
}

func (a *API) showVolume(r *httpapi.Request) (any, error) {
	if _, err := a.server(r); err != nil {
		return nil, err
	}
	return nil, fault.New(fault.NotFound, "volume_id not found: %.60s", r.PathValue("volume_id"))
}

func (a *API) noVolumes(r *httpapi.Request) (any, error) {
	if _, err := a.server(r); err != nil {
		return nil, err
	}
	return nil, fault.New(fault.NotImplemented, "volumes are not supported by this cloud yet")
}
