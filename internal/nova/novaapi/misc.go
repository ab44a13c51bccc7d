package novaapi

import (
	"net/http"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/policy"
)

func (a *API) addMiscRoutes() {
	a.get("/extensions", pre+"extensions", a.listExtensions)
	a.get("/extensions/{alias}", pre+"extensions", a.showExtension)
	a.post("/os-server-external-events", pre+"os-server-external-events:create", http.StatusOK, a.externalEvents)
	a.get("/os-simple-tenant-usage", pre+"os-simple-tenant-usage:list", a.listUsage)
	a.get("/os-simple-tenant-usage/{id}", pre+"os-simple-tenant-usage:show", a.showUsage)
	a.get("/os-migrations", pre+"os-migrations:index", a.listMigrations)
	a.get("/hastack-audit", pre+"hastack-audit", a.audit)
	a.post("/hastack-audit", pre+"hastack-audit:fix", http.StatusOK, a.auditFix)
}

type extensionView struct {
	Alias       string `json:"alias"`
	Description string `json:"description"`
	Links       []any  `json:"links"`
	Name        string `json:"name"`
	Namespace   string `json:"namespace"`
	Updated     string `json:"updated"`
}

// extensions are what clients of old look for; all of them are built in.
func extensions() []extensionView {
	var list []extensionView
	for _, e := range [][2]string{
		{"os-admin-actions", "AdminActions"}, {"os-aggregates", "Aggregates"}, {"os-attach-interfaces", "AttachInterfaces"}, {"os-availability-zone", "AvailabilityZone"},
		{"os-config-drive", "ConfigDrive"}, {"os-console-output", "ConsoleOutput"}, {"os-extended-availability-zone", "ExtendedAvailabilityZone"},
		{"os-extended-server-attributes", "ExtendedServerAttributes"}, {"os-extended-status", "ExtendedStatus"},
		{"os-flavor-access", "FlavorAccess"}, {"os-flavor-extra-specs", "FlavorExtraSpecs"}, {"os-flavor-manage", "FlavorManage"},
		{"os-hypervisors", "Hypervisors"}, {"os-instance-actions", "InstanceActions"}, {"os-keypairs", "Keypairs"},
		{"os-lock-server", "LockServer"}, {"os-multiple-create", "MultipleCreate"}, {"os-pause-server", "PauseServer"},
		{"os-quota-class-sets", "QuotaClasses"}, {"os-quota-sets", "Quotas"}, {"os-remote-consoles", "Consoles"},
		{"os-scheduler-hints", "SchedulerHints"}, {"os-security-groups", "SecurityGroups"}, {"os-server-diagnostics", "ServerDiagnostics"},
		{"os-server-external-events", "ServerExternalEvents"}, {"os-server-groups", "ServerGroups"}, {"os-server-usage", "ServerUsage"},
		{"os-services", "Services"}, {"os-simple-tenant-usage", "SimpleTenantUsage"}, {"os-suspend-server", "SuspendServer"},
		{"os-used-limits", "UsedLimits"}, {"os-user-data", "UserData"}, {"servers", "Servers"}, {"flavors", "Flavors"}, {"versions", "Versions"},
	} {
		list = append(list, extensionView{e[0], e[1] + " support.", []any{}, e[1],
			"http://docs.openstack.org/compute/ext/fake_xml", "2014-12-03T00:00:00Z"})
	}
	return list
}

func (a *API) listExtensions(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	return map[string]any{"extensions": extensions()}, nil
}

func (a *API) showExtension(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	for _, e := range extensions() {
		if e.Alias == r.PathValue("alias") {
			return map[string]any{"extension": e}, nil
		}
	}
	return nil, fault.New(fault.NotFound, "the resource could not be found")
}

type eventBody struct {
	Events []struct {
		Name       string `json:"name"`
		ServerUUID string `json:"server_uuid"`
		Status     string `json:"status"`
		Tag        string `json:"tag"`
	} `json:"events"`
}

// maxEvents bounds one message from Neutron.
const maxEvents = 1000

func (a *API) externalEvents(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in eventBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if len(in.Events) == 0 || len(in.Events) > maxEvents {
		return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute events: there must be 1 to %d", maxEvents)
	}
	events := make([]rpc.ExternalEvent, len(in.Events))
	for i, e := range in.Events {
		if !ids.IsUUID(e.ServerUUID) || e.Name == "" {
			return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute server_uuid. Value: %.60s", e.ServerUUID)
		}
		if e.Status == "" {
			e.Status = "completed"
		}
		events[i] = rpc.ExternalEvent{Name: e.Name, ServerID: e.ServerUUID, Tag: e.Tag, Status: e.Status}
	}
	codes, err := a.nova.ExternalEvents(r.Context(), events)
	if err != nil {
		return nil, err
	}
	return viewEvents(events, codes)
}

// viewEvents answers 207 if some events were not taken, 404 if none was.
func viewEvents(events []rpc.ExternalEvent, codes []int) (any, error) {
	views, good := []map[string]any{}, 0
	for i, e := range events {
		v := map[string]any{"name": e.Name, "server_uuid": e.ServerID, "status": e.Status, "code": codes[i]}
		if codes[i] == http.StatusOK {
			good++
		} else {
			v["status"] = "failed"
		}
		if e.Tag != "" {
			v["tag"] = e.Tag
		}
		views = append(views, v)
	}
	status := http.StatusOK
	switch {
	case good == 0:
		return nil, fault.New(fault.NotFound, "No instances found for any event")
	case good < len(events):
		status = http.StatusMultiStatus
	}
	return httpapi.Response{Status: status, Body: map[string]any{"events": views}}, nil
}

func (a *API) usagePeriod(r *httpapi.Request) (start, end time.Time, err error) {
	now := a.clock.Now()
	start, end = now.AddDate(0, 0, -28), now
	q := r.URL.Query()
	if v := q.Get("start"); v != "" {
		if start, err = queryTime("start", v); err != nil {
			return start, end, err
		}
	}
	if v := q.Get("end"); v != "" {
		if end, err = queryTime("end", v); err != nil {
			return start, end, err
		}
	}
	if end.Before(start) {
		return start, end, fault.New(fault.BadRequest, "Invalid start time. The start time cannot occur after the end time.")
	}
	return start, end, nil
}

func (a *API) listUsage(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	detailed := r.URL.Query().Get("detailed") == "1"
	return a.usage(r, "", func(u nova.Usage) map[string]any { return viewUsage(&u, detailed) }, "tenant_usages")
}

func (a *API) showUsage(r *httpapi.Request) (any, error) {
	if err := r.Enforce(policy.Target{"project_id": r.PathValue("id")}); err != nil {
		return nil, err
	}
	return a.usage(r, r.PathValue("id"), func(u nova.Usage) map[string]any { return viewUsage(&u, true) }, "tenant_usage")
}

func (a *API) usage(r *httpapi.Request, project string, view func(nova.Usage) map[string]any, field string) (any, error) {
	start, end, err := a.usagePeriod(r)
	if err != nil {
		return nil, err
	}
	list, err := a.nova.UsageOf(r.Context(), project, start, end)
	if err != nil {
		return nil, err
	}
	views := []map[string]any{}
	for _, u := range list {
		views = append(views, view(u))
	}
	if project == "" {
		return map[string]any{field: views}, nil
	}
	if len(views) == 0 {
		return map[string]any{field: map[string]any{}}, nil
	}
	return map[string]any{field: views[0]}, nil
}

func viewUsage(u *nova.Usage, detailed bool) map[string]any {
	out := map[string]any{"tenant_id": u.ProjectID, "start": u.Start.Format(isoMicros), "stop": u.End.Format(isoMicros)}
	var hours, disk, ram, cpus float64
	list := []map[string]any{}
	for _, s := range u.Servers {
		h := s.Hours
		hours, disk, ram, cpus = hours+h, disk+h*float64(s.DiskGB), ram+h*float64(s.MemoryMB), cpus+h*float64(s.VCPUs)
		v := map[string]any{"instance_id": s.ID, "name": s.Name, "hours": h, "flavor": s.Flavor, "memory_mb": s.MemoryMB, "vcpus": s.VCPUs,
			"local_gb": s.DiskGB, "state": s.State, "tenant_id": u.ProjectID, "started_at": s.Started.Format(isoMicros),
			"uptime": int(s.Uptime.Seconds()), "ended_at": nil}
		if !s.Ended.IsZero() {
			v["ended_at"] = s.Ended.Format(isoMicros)
		}
		list = append(list, v)
	}
	out["total_hours"], out["total_local_gb_usage"], out["total_memory_mb_usage"], out["total_vcpus_usage"] = hours, disk, ram, cpus
	if detailed {
		out["server_usages"] = list
	}
	return out
}

// listMigrations answers that there were none: servers stay on their host.
func (a *API) listMigrations(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	return map[string]any{"migrations": []any{}}, nil
}

type auditView struct {
	ID        string         `json:"id"`
	ProjectID string         `json:"project_id"`
	VMState   string         `json:"vm_state"`
	TaskState string         `json:"task_state,omitempty"`
	Host      string         `json:"host"`
	Node      string         `json:"node"`
	PortIDs   []string       `json:"port_ids"`
	Resources map[string]int `json:"resources"`
	InFlight  bool           `json:"in_flight"`
	Cleanup   bool           `json:"cleanup"`
}

// audit is Hastack's own: what `hastack audit` compares with the other services.
func (a *API) audit(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	list, err := a.nova.AuditServers(r.Context(), r.URL.Query().Get("host"))
	if err != nil {
		return nil, err
	}
	views := []auditView{}
	for _, s := range list {
		views = append(views, auditView{s.ID, s.ProjectID, s.VMState, s.TaskState, s.Host, s.Node, s.PortIDs, s.Resources, s.InFlight, s.Cleanup})
	}
	quota, err := a.nova.AuditQuota(r.Context(), false)
	if err != nil {
		return nil, err
	}
	return map[string]any{"servers": views, "quota": quota}, nil
}

func (a *API) auditFix(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	quota, err := a.nova.AuditQuota(r.Context(), true)
	return map[string]any{"quota": quota}, err
}
