package novaapi

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/policy"
)

func (a *API) addQuotaRoutes() {
	const q = "/os-quota-sets/{id}"
	a.get(q, pre+"os-quota-sets:show", a.showQuotas)
	a.get(q+"/detail", pre+"os-quota-sets:detail", a.showQuotasDetail)
	a.get(q+"/defaults", pre+"os-quota-sets:defaults", a.showDefaultQuotas)
	a.put(q, pre+"os-quota-sets:update", a.updateQuotas)
	a.del(q, pre+"os-quota-sets:delete", http.StatusAccepted, a.deleteQuotas)
	a.get("/os-quota-class-sets/{id}", pre+"os-quota-class-sets:show", a.showQuotaClass)
	a.put("/os-quota-class-sets/{id}", pre+"os-quota-class-sets:update", a.updateQuotaClass)
	a.get("/limits", pre+"limits", a.showLimits)
}

var (
	networkQuotas = []string{"fixed_ips", "floating_ips", "security_groups", "security_group_rules"}
	fileQuotas    = []string{"injected_files", "injected_file_content_bytes", "injected_file_path_bytes"}
)

// quotaNames are the resources that a microversion knows.
func quotaNames(v httpapi.Microversion) []string {
	names := sortedKeys(nova.QuotaResources())
	return slices.DeleteFunc(names, func(n string) bool {
		return v.AtLeast(2, 36) && slices.Contains(networkQuotas, n) || v.AtLeast(2, 57) && slices.Contains(fileQuotas, n)
	})
}

func viewLimits(limits map[string]int64, r *httpapi.Request, id string) map[string]any {
	out := map[string]any{}
	if id != "" {
		out["id"] = id
	}
	for _, n := range quotaNames(r.Version()) {
		out[n] = limits[n]
	}
	return out
}

// quotaProject enforces the route's rule on the project of the path.
func quotaProject(r *httpapi.Request) (project, user string, err error) {
	project = r.PathValue("id")
	if len(project) > 64 {
		return "", "", notFound("Project", project)
	}
	return project, r.URL.Query().Get("user_id"), r.Enforce(policy.Target{"project_id": project})
}

func (a *API) showQuotas(r *httpapi.Request) (any, error) {
	project, user, err := quotaProject(r)
	if err != nil {
		return nil, err
	}
	limits, err := a.nova.Limits(r.Context(), project, user)
	if err != nil {
		return nil, err
	}
	return map[string]any{"quota_set": viewLimits(limits, r, project)}, nil
}

func (a *API) showDefaultQuotas(r *httpapi.Request) (any, error) {
	project, _, err := quotaProject(r)
	if err != nil {
		return nil, err
	}
	limits, err := a.nova.DefaultLimits(r.Context())
	if err != nil {
		return nil, err
	}
	return map[string]any{"quota_set": viewLimits(limits, r, project)}, nil
}

func (a *API) showQuotasDetail(r *httpapi.Request) (any, error) {
	project, user, err := quotaProject(r)
	if err != nil {
		return nil, err
	}
	q, err := a.nova.Quotas(r.Context(), project, user)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"id": project}
	for _, n := range quotaNames(r.Version()) {
		out[n] = map[string]int64{"in_use": q.InUse[n], "limit": q.Limits[n], "reserved": 0}
	}
	return map[string]any{"quota_set": out}, nil
}

// readQuotas reads limits by name, with the fields that are not limits taken
// out.
func readQuotas(raw map[string]json.RawMessage, v httpapi.Microversion) (limits map[string]int64, force bool, err error) {
	if raw == nil {
		return nil, false, fault.New(fault.BadRequest, "'quota_set' is a required property")
	}
	limits = map[string]int64{}
	known := quotaNames(v)
	for name, b := range raw {
		switch {
		case name == "force":
			var f looseBool
			if err := json.Unmarshal(b, &f); err != nil {
				return nil, false, err
			}
			force = bool(f)
		case name == "tenant_id" || name == "id":
		case !slices.Contains(known, name):
			return nil, false, unexpected(name)
		default:
			var n signed
			if err := json.Unmarshal(b, &n); err != nil {
				return nil, false, fault.New(fault.BadRequest, "Invalid input for field/attribute %s. Value: %.40s", name, b)
			}
			limits[name] = int64(n)
		}
	}
	return limits, force, nil
}

func (a *API) updateQuotas(r *httpapi.Request) (any, error) {
	project, user, err := quotaProject(r)
	if err != nil {
		return nil, err
	}
	var in struct {
		Set map[string]json.RawMessage `json:"quota_set"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	limits, force, err := readQuotas(in.Set, r.Version())
	if err != nil {
		return nil, err
	}
	if err := a.nova.SetQuotas(r.Context(), project, user, limits, force); err != nil {
		return nil, err
	}
	now, err := a.nova.Limits(r.Context(), project, user)
	if err != nil {
		return nil, err
	}
	return map[string]any{"quota_set": viewLimits(now, r, "")}, nil
}

func (a *API) deleteQuotas(r *httpapi.Request) (any, error) {
	project, user, err := quotaProject(r)
	if err != nil {
		return nil, err
	}
	return nil, a.nova.DeleteQuotas(r.Context(), project, user)
}

// quotaClass is the only class there is.
const quotaClass = "default"

func (a *API) showQuotaClass(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	limits, err := a.nova.DefaultLimits(r.Context())
	if err != nil {
		return nil, err
	}
	return map[string]any{"quota_class_set": viewClass(limits, r, r.PathValue("id"))}, nil
}

// viewClass leaves out what the class showed never between 2.1 and 2.50.
func viewClass(limits map[string]int64, r *httpapi.Request, id string) map[string]any {
	out := viewLimits(limits, r, id)
	if r.Version().Before(2, 50) {
		delete(out, nova.ResourceServerGroups)
		delete(out, nova.ResourceGroupMembers)
	} else {
		for _, n := range networkQuotas {
			delete(out, n)
		}
	}
	return out
}

func (a *API) updateQuotaClass(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in struct {
		Set map[string]json.RawMessage `json:"quota_class_set"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if r.PathValue("id") != quotaClass {
		return nil, fault.New(fault.BadRequest, "only the quota class %q exists", quotaClass)
	}
	limits, _, err := readQuotas(in.Set, r.Version())
	if err != nil {
		return nil, err
	}
	for n, v := range limits {
		if v < nova.Unlimited {
			return nil, fault.New(fault.BadRequest, "Quota limit %d for %s must be -1 or more.", v, n)
		}
	}
	if err := a.nova.SetQuotaClass(r.Context(), quotaClass, limits); err != nil {
		return nil, err
	}
	now, err := a.nova.DefaultLimits(r.Context())
	if err != nil {
		return nil, err
	}
	return map[string]any{"quota_class_set": viewClass(now, r, "")}, nil
}

func (a *API) showLimits(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	project := r.Identity().ProjectID
	if other := r.URL.Query().Get("tenant_id"); other != "" && other != project {
		if err := r.EnforceRule(pre+"limits:other_project", nil); err != nil {
			return nil, err
		}
		project = other
	}
	q, err := a.nova.Quotas(r.Context(), project, "")
	if err != nil {
		return nil, err
	}
	v := r.Version()
	out := map[string]int64{"maxServerMeta": q.Limits["metadata_items"], "maxTotalCores": q.Limits["cores"],
		"maxTotalInstances": q.Limits["instances"], "maxTotalKeypairs": q.Limits["key_pairs"], "maxTotalRAMSize": q.Limits["ram"],
		"maxServerGroups": q.Limits["server_groups"], "maxServerGroupMembers": q.Limits["server_group_members"],
		"totalCoresUsed": q.InUse["cores"], "totalInstancesUsed": q.InUse["instances"], "totalRAMUsed": q.InUse["ram"],
		"totalServerGroupsUsed": q.InUse["server_groups"]}
	if v.Before(2, 57) {
		out["maxPersonality"], out["maxPersonalitySize"] = q.Limits["injected_files"], q.Limits["injected_file_content_bytes"]
	}
	if v.Before(2, 39) {
		out["maxImageMeta"] = q.Limits["metadata_items"]
	}
	if v.Before(2, 36) {
		out["maxSecurityGroups"], out["maxSecurityGroupRules"] = q.Limits["security_groups"], q.Limits["security_group_rules"]
		out["maxTotalFloatingIps"], out["totalFloatingIpsUsed"], out["totalSecurityGroupsUsed"] = q.Limits["floating_ips"], 0, 0
	}
	return map[string]any{"limits": map[string]any{"absolute": out, "rate": []any{}}}, nil
}
