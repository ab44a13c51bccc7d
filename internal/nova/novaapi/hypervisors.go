package novaapi

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova"
)

func (a *API) addHypervisorRoutes() {
	a.get("/os-hypervisors", pre+"os-hypervisors:list", a.listHypervisors)
	a.get("/os-hypervisors/detail", pre+"os-hypervisors:list-detail", a.listHypervisorsDetail)
	a.get("/os-hypervisors/statistics", pre+"os-hypervisors:statistics", until(88, a.hypervisorStatistics))
	a.get("/os-hypervisors/{id}", pre+"os-hypervisors:show", a.showHypervisor)
	a.get("/os-hypervisors/{id}/uptime", pre+"os-hypervisors:uptime", until(88, a.hypervisorUptime))
	a.get("/os-hypervisors/{id}/search", pre+"os-hypervisors:search", until(53, a.searchHypervisors))
	a.get("/os-hypervisors/{id}/servers", pre+"os-hypervisors:servers", until(53, a.hypervisorServers))
}

func (a *API) viewHypervisor(h *nova.Hypervisor, r *httpapi.Request, detail bool) map[string]any {
	v := r.Version()
	out := map[string]any{"hypervisor_hostname": h.Hostname, "id": h.Seq, "state": "down", "status": "enabled"}
	if v.AtLeast(2, 53) {
		out["id"] = h.ID
	}
	if h.Service.Up {
		out["state"] = "up"
	}
	if h.Service.Disabled {
		out["status"] = "disabled"
	}
	if !detail {
		return out
	}
	service := map[string]any{"host": h.Host, "id": h.Service.Seq, "disabled_reason": orNil(h.Service.DisabledReason)}
	if v.AtLeast(2, 53) {
		service["id"] = h.Service.ID
	}
	out["host_ip"], out["hypervisor_type"], out["hypervisor_version"], out["service"] = h.HostIP, h.Type, h.Version, service
	if v.AtLeast(2, 88) {
		out["uptime"] = nil
		if !h.BootTime.IsZero() {
			out["uptime"] = uptime(a.clock.Now(), h.BootTime)
		}
		return out
	}
	for k, n := range usage(h) {
		out[k] = n
	}
	out["cpu_info"] = viewCPU(h, v)
	return out
}

// usage are the figures that 2.88 removed in favour of Placement.
func usage(h *nova.Hypervisor) map[string]int {
	return map[string]int{"current_workload": h.Used.Busy, "disk_available_least": h.DiskGB - h.Used.DiskGB,
		"free_disk_gb": h.DiskGB - h.Used.DiskGB, "free_ram_mb": h.MemoryMB - h.Used.MemoryMB, "local_gb": h.DiskGB,
		"local_gb_used": h.Used.DiskGB, "memory_mb": h.MemoryMB, "memory_mb_used": h.Used.MemoryMB,
		"running_vms": h.Used.Servers, "vcpus": h.VCPUs, "vcpus_used": h.Used.VCPUs}
}

// viewCPU is an object since 2.28, and its text before.
func viewCPU(h *nova.Hypervisor, v httpapi.Microversion) any {
	info := map[string]any{"arch": h.CPUInfo.Arch, "model": h.CPUInfo.Model, "vendor": h.CPUInfo.Vendor, "features": h.CPUInfo.Features,
		"topology": map[string]int{"cores": h.VCPUs, "threads": 1, "sockets": 1}}
	if v.AtLeast(2, 28) {
		return info
	}
	b, err := json.Marshal(info)
	if err != nil {
		return "{}"
	}
	return string(b)
}

// uptime is in the words of the command of that name, as clients parse it.
func uptime(now, since time.Time) string {
	d := now.Sub(since)
	days, hours, mins := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60
	return fmt.Sprintf(" %s up %d days, %2d:%02d,  0 users,  load average: 0.00, 0.00, 0.00", now.Format("15:04:05"), days, hours, mins)
}

func (a *API) listHypervisors(r *httpapi.Request) (any, error) {
	return a.hypervisorList(r, "/os-hypervisors", false)
}

func (a *API) listHypervisorsDetail(r *httpapi.Request) (any, error) {
	return a.hypervisorList(r, "/os-hypervisors/detail", true)
}

func (a *API) hypervisorList(r *httpapi.Request, path string, detail bool) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	page, pattern := httpapi.Page{}, ""
	if r.Version().AtLeast(2, 33) {
		var err error
		if page, err = r.Page(httpapi.PageConfig{DefaultLimit: maxLimit, MaxLimit: maxLimit}); err != nil {
			return nil, err
		}
	}
	if r.Version().AtLeast(2, 53) {
		pattern = r.URL.Query().Get("hypervisor_hostname_pattern")
	}
	ask := page.Limit
	if ask > 0 {
		ask++
	}
	list, err := a.nova.Hypervisors(r.Context(), pattern, page.Marker, ask)
	if err != nil {
		return nil, err
	}
	if pattern != "" && len(list) == 0 {
		return nil, fault.New(fault.NotFound, "No hypervisor matching '%.60s' could be found.", pattern)
	}
	out := map[string]any{}
	if page.Limit > 0 && len(list) > page.Limit {
		list = list[:page.Limit]
		out["hypervisors_links"] = []link{{r.NextLink("/v2.1"+path, list[page.Limit-1].ID), "next"}}
	}
	views, err := a.withServers(r, list, detail)
	out["hypervisors"] = views
	return out, err
}

// withServers shows hypervisors, with their servers since 2.53 if asked.
func (a *API) withServers(r *httpapi.Request, list []*nova.Hypervisor, detail bool) ([]map[string]any, error) {
	views := make([]map[string]any, len(list))
	for i, h := range list {
		views[i] = a.viewHypervisor(h, r, detail)
	}
	with, err := queryBool(r.URL.Query().Get("with_servers"), r.URL.Query().Has("with_servers"))
	if err != nil || !with || r.Version().Before(2, 53) {
		return views, err
	}
	return views, a.addServers(r, list, views)
}

func (a *API) addServers(r *httpapi.Request, list []*nova.Hypervisor, views []map[string]any) error {
	hosts := make([]string, len(list))
	for i, h := range list {
		hosts[i] = h.Host
	}
	servers, err := a.nova.ServersOnHosts(r.Context(), hosts)
	if err != nil {
		return err
	}
	for i, h := range list {
		brief := []map[string]string{}
		for _, s := range servers[h.Host] {
			brief = append(brief, map[string]string{"name": s.Name, "uuid": s.ID})
		}
		if len(brief) > 0 || r.Version().AtLeast(2, 53) {
			views[i]["servers"] = brief
		}
	}
	return nil
}

// hypervisor loads the hypervisor of the path; since 2.53 ids are UUIDs.
func (a *API) hypervisor(r *httpapi.Request) (*nova.Hypervisor, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	if r.Version().AtLeast(2, 53) && !ids.IsUUID(id) {
		return nil, fault.New(fault.BadRequest, "Invalid uuid %.60s", id)
	}
	return a.nova.Hypervisor(r.Context(), id)
}

func (a *API) showHypervisor(r *httpapi.Request) (any, error) {
	h, err := a.hypervisor(r)
	if err != nil {
		return nil, err
	}
	views, err := a.withServers(r, []*nova.Hypervisor{h}, true)
	if err != nil {
		return nil, err
	}
	return map[string]any{"hypervisor": views[0]}, nil
}

func (a *API) hypervisorUptime(r *httpapi.Request) (any, error) {
	h, err := a.hypervisor(r)
	if err != nil {
		return nil, err
	}
	v := a.viewHypervisor(h, r, false)
	v["uptime"] = uptime(a.clock.Now(), h.BootTime)
	return map[string]any{"hypervisor": v}, nil
}

func (a *API) hypervisorStatistics(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	list, err := a.nova.Hypervisors(r.Context(), "", "", 0)
	if err != nil {
		return nil, err
	}
	sum := map[string]int{"count": len(list)}
	for _, k := range sortedKeys(usage(&nova.Hypervisor{})) {
		sum[k] = 0
	}
	for _, h := range list {
		for k, n := range usage(h) {
			sum[k] += n
		}
	}
	return map[string]any{"hypervisor_statistics": sum}, nil
}

func (a *API) matching(r *httpapi.Request) ([]*nova.Hypervisor, []map[string]any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, nil, err
	}
	list, err := a.nova.Hypervisors(r.Context(), r.PathValue("id"), "", 0)
	if err != nil {
		return nil, nil, err
	}
	if len(list) == 0 {
		return nil, nil, fault.New(fault.NotFound, "No hypervisor matching '%.60s' could be found.", r.PathValue("id"))
	}
	views := make([]map[string]any, len(list))
	for i, h := range list {
		views[i] = a.viewHypervisor(h, r, false)
	}
	return list, views, nil
}

func (a *API) searchHypervisors(r *httpapi.Request) (any, error) {
	_, views, err := a.matching(r)
	return map[string]any{"hypervisors": views}, err
}

func (a *API) hypervisorServers(r *httpapi.Request) (any, error) {
	list, views, err := a.matching(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"hypervisors": views}, a.addServers(r, list, views)
}
