package novaapi

import (
	"net/http"
	"strconv"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova"
)

func (a *API) addServiceRoutes() {
	a.get("/os-services", pre+"os-services:list", a.listServices)
	a.put("/os-services/{id}", pre+"os-services:update", a.updateService)
	a.del("/os-services/{id}", pre+"os-services:delete", http.StatusNoContent, a.deleteService)
	a.get("/os-availability-zone", pre+"os-availability-zone:list", a.listZones)
	a.get("/os-availability-zone/detail", pre+"os-availability-zone:detail", a.listZonesDetail)
}

func viewService(s *nova.HostService, r *httpapi.Request) map[string]any {
	v := r.Version()
	out := map[string]any{"binary": s.ServiceName, "host": s.Host, "id": s.Seq, "zone": s.Zone, "status": "enabled", "state": "down",
		"updated_at": s.LastSeen.Format(isoMicros), "disabled_reason": orNil(s.DisabledReason)}
	if v.AtLeast(2, 53) {
		out["id"] = s.ID
	}
	if s.Disabled {
		out["status"] = "disabled"
	}
	if s.Up {
		out["state"] = "up"
	}
	if v.AtLeast(2, 11) {
		out["forced_down"] = s.ForcedDown
	}
	return out
}

func (a *API) listServices(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	q := r.URL.Query()
	list, err := a.nova.HostServices(r.Context(), q.Get("host"), q.Get("binary"))
	if err != nil {
		return nil, err
	}
	views := []map[string]any{}
	for _, s := range list {
		views = append(views, viewService(s, r))
	}
	return map[string]any{"services": views}, nil
}

type serviceBody struct {
	Host       string     `json:"host"`
	Binary     string     `json:"binary"`
	Reason     string     `json:"disabled_reason"`
	Status     string     `json:"status"`
	ForcedDown *looseBool `json:"forced_down"`
}

// updateService changes a service by its id since 2.53, and by an action in the
// path with host and binary in the body before.
func (a *API) updateService(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in serviceBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if len(in.Reason) > 255 {
		return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute disabled_reason: longer than 255 characters")
	}
	if r.Version().Before(2, 53) {
		return a.updateServiceOld(r, &in)
	}
	s, err := a.service(r, func(s *nova.HostService) bool { return s.ID == r.PathValue("id") })
	if err != nil {
		return nil, err
	}
	var disabled *bool
	switch in.Status {
	case "enabled", "disabled":
		d := in.Status == "disabled"
		disabled = &d
		if !d && in.Reason != "" {
			return nil, fault.New(fault.BadRequest, "Specifying 'disabled_reason' when status is 'enabled' is invalid.")
		}
	case "":
		if in.Reason != "" {
			return nil, fault.New(fault.BadRequest, "'disabled_reason' needs the status 'disabled'")
		}
		if in.ForcedDown == nil {
			return nil, fault.New(fault.BadRequest, "No updates were requested. Fields 'status' or 'forced_down' should be specified.")
		}
	default:
		return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute status. Value: %.40s", in.Status)
	}
	if s.ServiceName != nova.BinaryCompute {
		return nil, fault.New(fault.BadRequest, "Updating a %s service is not supported. Only nova-compute services can be updated.", s.ServiceName)
	}
	if err := a.nova.SetService(r.Context(), s.ID, disabled, in.Reason, (*bool)(in.ForcedDown)); err != nil {
		return nil, err
	}
	s, err = a.service(r, func(x *nova.HostService) bool { return x.ID == s.ID })
	if err != nil {
		return nil, err
	}
	return map[string]any{"service": viewService(s, r)}, nil
}

func (a *API) service(r *httpapi.Request, is func(*nova.HostService) bool) (*nova.HostService, error) {
	list, err := a.nova.HostServices(r.Context(), "", "")
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		if is(s) {
			return s, nil
		}
	}
	if id := r.PathValue("id"); r.Version().AtLeast(2, 53) && !ids.IsUUID(id) {
		return nil, fault.New(fault.BadRequest, "Invalid uuid %.60s", id)
	}
	return nil, notFound("Service", r.PathValue("id"))
}

func (a *API) updateServiceOld(r *httpapi.Request, in *serviceBody) (any, error) {
	s, err := a.service(r, func(s *nova.HostService) bool { return s.Host == in.Host && s.ServiceName == in.Binary })
	if err != nil {
		return nil, err
	}
	out := map[string]any{"host": s.Host, "binary": s.ServiceName}
	var disabled *bool
	yes, no := true, false
	switch action := r.PathValue("id"); action {
	case "enable":
		disabled, out["status"] = &no, "enabled"
	case "disable":
		disabled, out["status"] = &yes, "disabled"
	case "disable-log-reason":
		if in.Reason == "" {
			return nil, fault.New(fault.BadRequest, "Missing disabled reason field")
		}
		disabled, out["status"], out["disabled_reason"] = &yes, "disabled", in.Reason
	case "force-down":
		if r.Version().Before(2, 11) || in.ForcedDown == nil {
			return nil, fault.New(fault.NotFound, "the resource could not be found")
		}
		out["forced_down"] = *in.ForcedDown
	default:
		return nil, fault.New(fault.NotFound, "Unknown action")
	}
	if err := a.nova.SetService(r.Context(), s.ID, disabled, in.Reason, (*bool)(in.ForcedDown)); err != nil {
		return nil, err
	}
	return map[string]any{"service": out}, nil
}

func (a *API) deleteService(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	s, err := a.service(r, func(s *nova.HostService) bool {
		return s.ID == id || r.Version().Before(2, 53) && strconv.FormatInt(s.Seq, 10) == id
	})
	if err != nil {
		return nil, err
	}
	return nil, a.nova.DeleteService(r.Context(), s)
}

func (a *API) listZones(r *httpapi.Request) (any, error) { return a.zones(r, false) }

func (a *API) listZonesDetail(r *httpapi.Request) (any, error) { return a.zones(r, true) }

func (a *API) zones(r *httpapi.Request, detail bool) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	zones, err := a.nova.Zones(r.Context())
	if err != nil {
		return nil, err
	}
	views := []map[string]any{}
	for _, z := range zones {
		if z.Name == "internal" && !detail {
			continue
		}
		v := map[string]any{"zoneName": z.Name, "zoneState": map[string]bool{"available": z.Available}, "hosts": nil}
		if detail {
			hosts := map[string]map[string]any{}
			for _, s := range z.Services {
				if hosts[s.Host] == nil {
					hosts[s.Host] = map[string]any{}
				}
				hosts[s.Host][s.ServiceName] = map[string]any{"active": !s.Disabled, "available": s.Up, "updated_at": s.LastSeen.Format(isoMicros)}
			}
			v["hosts"] = hosts
		}
		views = append(views, v)
	}
	return map[string]any{"availabilityZoneInfo": views}, nil
}
