package nova

import (
	"strings"

	"github.com/hastack/hastack/internal/policy"
)

// The checks that rules refer to, with Nova's names and meaning.
const (
	anyone = "@"
	admin  = "rule:context_is_admin"
	member = "rule:project_member_or_admin"
	reader = "rule:project_reader_or_admin"
	owner  = "rule:user_or_admin" // of a key pair
)

// Policy is every rule of nova-api with its default, as Nova publishes them.
func Policy() []policy.Rule {
	rules := []policy.Rule{
		{Name: "context_is_admin", Check: "role:admin", Description: "who is an administrator"},
		{Name: "project_member_api", Check: "role:member and project_id:%(project_id)s", Description: "members of the project"},
		{Name: "project_reader_api", Check: "role:reader and project_id:%(project_id)s", Description: "readers of the project"},
		{Name: "project_member_or_admin", Check: "rule:project_member_api or rule:context_is_admin", Description: "members of the project and administrators"},
		{Name: "project_reader_or_admin", Check: "rule:project_reader_api or rule:context_is_admin", Description: "readers of the project and administrators"},
		{Name: "user_or_admin", Check: "rule:context_is_admin or user_id:%(user_id)s", Description: "the user and administrators"},
		{Name: "service_api", Check: "role:service or role:admin", Description: "other services"},
	}
	for _, table := range [][]ruleLine{serverRules(), actionRules(), resourceRules(), adminRules()} {
		for _, l := range table {
			rules = append(rules, l.rule())
		}
	}
	return rules
}

// A ruleLine is a rule in short: its name behind os_compute_api:, its check and
// "METHOD /path" of what it guards.
type ruleLine struct{ name, check, op, text string }

func (l ruleLine) rule() policy.Rule {
	r := policy.Rule{Name: "os_compute_api:" + l.name, Check: l.check, Description: l.text, Scopes: []string{"project"}}
	for op := range strings.SplitSeq(l.op, ", ") {
		method, path, ok := strings.Cut(op, " ")
		if ok {
			r.Operations = append(r.Operations, policy.Operation{Method: method, Path: path})
		}
	}
	return r
}

func serverRules() []ruleLine {
	return []ruleLine{
		{"servers:index", reader, "GET /servers", "list servers"},
		{"servers:detail", reader, "GET /servers/detail", "list servers in detail"},
		{"servers:index:get_all_tenants", admin, "GET /servers", "list servers of all projects"},
		{"servers:detail:get_all_tenants", admin, "GET /servers/detail", "list servers of all projects in detail"},
		{"servers:allow_all_filters", admin, "GET /servers", "use every filter of a list"},
		{"servers:show", reader, "GET /servers/{server_id}", "show a server"},
		{"servers:show:host_status", admin, "GET /servers/{server_id}", "show the state of a server's host"},
		{"servers:show:host_status:unknown-only", admin, "GET /servers/{server_id}", "show that a server's host is silent"},
		{"servers:show:flavor-extra-specs", reader, "GET /servers/{server_id}", "show the extra specs of a server's flavor"},
		{"servers:create", member, "POST /servers", "create a server"},
		{"servers:create:forced_host", admin, "POST /servers", "create a server on a host of one's choice"},
		{"servers:requested_destination", admin, "POST /servers", "create a server on a host that the scheduler may refuse"},
		{"servers:create:attach_network", member, "POST /servers", "create a server with networks"},
		{"servers:create:attach_volume", member, "POST /servers", "create a server with volumes"},
		{"servers:create:trusted_certs", member, "POST /servers", "create a server with trusted certificates"},
		{"servers:create:zero_disk_flavor", admin, "POST /servers", "create a server whose flavor has no disk"},
		{"servers:delete", member, "DELETE /servers/{server_id}", "delete a server"},
		{"servers:update", member, "PUT /servers/{server_id}", "update a server"},
		{"servers:start", member, "POST /servers/{server_id}/action", "start a server"},
		{"servers:stop", member, "POST /servers/{server_id}/action", "stop a server"},
		{"servers:reboot", member, "POST /servers/{server_id}/action", "reboot a server"},
		{"servers:rebuild", member, "POST /servers/{server_id}/action", "rebuild a server"},
		{"servers:create_image", member, "POST /servers/{server_id}/action", "make an image of a server"},
		{"servers:resize", member, "POST /servers/{server_id}/action", "resize a server"},
		{"servers:confirm_resize", member, "POST /servers/{server_id}/action", "confirm a resize"},
		{"servers:revert_resize", member, "POST /servers/{server_id}/action", "revert a resize"},
		{"servers:trigger_crash_dump", member, "POST /servers/{server_id}/action", "crash a server for a dump"},
		{"server-metadata:index", reader, "GET /servers/{server_id}/metadata", "list a server's metadata"},
		{"server-metadata:show", reader, "GET /servers/{server_id}/metadata/{key}", "show a metadata item"},
		{"server-metadata:create", member, "POST /servers/{server_id}/metadata", "add metadata"},
		{"server-metadata:update_all", member, "PUT /servers/{server_id}/metadata", "replace metadata"},
		{"server-metadata:update", member, "PUT /servers/{server_id}/metadata/{key}", "set a metadata item"},
		{"server-metadata:delete", member, "DELETE /servers/{server_id}/metadata/{key}", "remove a metadata item"},
		{"os-server-tags:index", reader, "GET /servers/{server_id}/tags", "list tags"},
		{"os-server-tags:show", reader, "GET /servers/{server_id}/tags/{tag}", "check a tag"},
		{"os-server-tags:update", member, "PUT /servers/{server_id}/tags/{tag}", "add a tag"},
		{"os-server-tags:update_all", member, "PUT /servers/{server_id}/tags", "replace tags"},
		{"os-server-tags:delete", member, "DELETE /servers/{server_id}/tags/{tag}", "remove a tag"},
		{"os-server-tags:delete_all", member, "DELETE /servers/{server_id}/tags", "remove all tags"},
		{"ips:index", reader, "GET /servers/{server_id}/ips", "list addresses"},
		{"ips:show", reader, "GET /servers/{server_id}/ips/{label}", "list addresses on a network"},
		{"os-extended-server-attributes", admin, "GET /servers/{server_id}", "show where a server is and how it was made"},
		{"os-instance-actions:list", reader, "GET /servers/{server_id}/os-instance-actions", "list actions"},
		{"os-instance-actions:show", reader, "GET /servers/{server_id}/os-instance-actions/{request_id}", "show an action"},
		{"os-instance-actions:events", admin, "GET /servers/{server_id}/os-instance-actions/{request_id}", "show an action's events with host and traceback"},
		{"os-instance-actions:events:details", admin, "GET /servers/{server_id}/os-instance-actions/{request_id}", "show the details of an action's events"},
		{"hastack-trace", reader, "GET /servers/{server_id}/hastack-trace", "show the steps of an action"},
		{"hastack-trace:hosts", admin, "GET /servers/{server_id}/hastack-trace", "show the hosts in the steps of an action"},
	}
}

func actionRules() []ruleLine {
	const act = "POST /servers/{server_id}/action"
	return []ruleLine{
		{"os-pause-server:pause", member, act, "pause a server"},
		{"os-pause-server:unpause", member, act, "unpause a server"},
		{"os-suspend-server:suspend", member, act, "suspend a server"},
		{"os-suspend-server:resume", member, act, "resume a server"},
		{"os-lock-server:lock", member, act, "lock a server"},
		{"os-lock-server:unlock", member, act, "unlock a server"},
		{"os-lock-server:unlock:unlock_override", admin, act, "unlock or act on a server that another locked"},
		{"os-admin-actions:reset_state", admin, act, "set a server's state"},
		{"os-admin-actions:inject_network_info", admin, act, "make a server's network info anew"},
		{"os-admin-password", member, act, "set the administrator's password of a guest"},
		{"os-console-output", member, act, "show console output"},
		{"os-create-backup", member, act, "make a rotated image"},
		{"os-deferred-delete:restore", member, act, "restore a deleted server"},
		{"os-deferred-delete:force", member, act, "delete a server now"},
		{"os-evacuate", admin, act, "evacuate a server"},
		{"os-migrate-server:migrate", admin, act, "migrate a server"},
		{"os-migrate-server:migrate_live", admin, act, "migrate a running server"},
		{"os-rescue", member, act, "rescue a server"},
		{"os-unrescue", member, act, "end a rescue"},
		{"os-shelve:shelve", member, act, "shelve a server"},
		{"os-shelve:unshelve", member, act, "unshelve a server"},
		{"os-shelve:shelve_offload", admin, act, "take a shelved server off its host"},
		{"os-security-groups:list", reader, "GET /servers/{server_id}/os-security-groups", "list a server's security groups"},
		{"os-security-groups:get", reader, "GET /os-security-groups", "list security groups"},
		{"os-security-groups:show", reader, "GET /os-security-groups/{id}", "show a security group"},
		{"os-security-groups:create", member, "POST /os-security-groups", "create a security group"},
		{"os-security-groups:update", member, "PUT /os-security-groups/{id}", "update a security group"},
		{"os-security-groups:delete", member, "DELETE /os-security-groups/{id}", "delete a security group"},
		{"os-security-groups:rule:create", member, "POST /os-security-group-rules", "add a rule to a security group"},
		{"os-security-groups:rule:delete", member, "DELETE /os-security-group-rules/{id}", "delete a rule of a security group"},
		{"os-security-groups:add", member, act, "add a security group to a server"},
		{"os-security-groups:remove", member, act, "remove a security group from a server"},
		{"os-floating-ips:add", member, act, "add a floating IP (old microversions)"},
		{"os-multinic:add", member, act, "add a fixed IP (old microversions)"},
		{"os-remote-consoles", member, act + ", POST /servers/{server_id}/remote-consoles", "open a console"},
		{"os-console-auth-tokens", admin, "GET /os-console-auth-tokens/{console_token}", "show what a console token opens"},
		{"os-server-diagnostics", admin, "GET /servers/{server_id}/diagnostics", "show a server's usage"},
		{"os-server-password:show", reader, "GET /servers/{server_id}/os-server-password", "show the encrypted password"},
		{"os-server-password:clear", member, "DELETE /servers/{server_id}/os-server-password", "clear the encrypted password"},
		{"compute:server:topology:index", reader, "GET /servers/{server_id}/topology", "show a server's NUMA topology"},
		{"compute:server:topology:host:index", admin, "GET /servers/{server_id}/topology", "show where a server's NUMA nodes are"},
		{"os-attach-interfaces:list", reader, "GET /servers/{server_id}/os-interface", "list interfaces"},
		{"os-attach-interfaces:show", reader, "GET /servers/{server_id}/os-interface/{port_id}", "show an interface"},
		{"os-attach-interfaces:create", member, "POST /servers/{server_id}/os-interface", "attach an interface"},
		{"os-attach-interfaces:delete", member, "DELETE /servers/{server_id}/os-interface/{port_id}", "detach an interface"},
		{"os-volumes-attachments:index", reader, "GET /servers/{server_id}/os-volume_attachments", "list attached volumes"},
		{"os-volumes-attachments:show", reader, "GET /servers/{server_id}/os-volume_attachments/{volume_id}", "show an attached volume"},
		{"os-volumes-attachments:create", member, "POST /servers/{server_id}/os-volume_attachments", "attach a volume"},
		{"os-volumes-attachments:update", member, "PUT /servers/{server_id}/os-volume_attachments/{volume_id}", "update an attachment"},
		{"os-volumes-attachments:delete", member, "DELETE /servers/{server_id}/os-volume_attachments/{volume_id}", "detach a volume"},
	}
}

func resourceRules() []ruleLine {
	return []ruleLine{
		{"os-flavor-manage:create", admin, "POST /flavors", "create a flavor"},
		{"os-flavor-manage:update", admin, "PUT /flavors/{flavor_id}", "update a flavor"},
		{"os-flavor-manage:delete", admin, "DELETE /flavors/{flavor_id}", "delete a flavor"},
		{"os-flavor-access", reader, "GET /flavors/{flavor_id}/os-flavor-access", "list who may use a flavor"},
		{"os-flavor-access:add_tenant_access", admin, "POST /flavors/{flavor_id}/action", "let a project use a flavor"},
		{"os-flavor-access:remove_tenant_access", admin, "POST /flavors/{flavor_id}/action", "take a flavor from a project"},
		{"os-flavor-extra-specs:index", reader, "GET /flavors/{flavor_id}/os-extra_specs", "list extra specs"},
		{"os-flavor-extra-specs:show", reader, "GET /flavors/{flavor_id}/os-extra_specs/{key}", "show an extra spec"},
		{"os-flavor-extra-specs:create", admin, "POST /flavors/{flavor_id}/os-extra_specs", "add extra specs"},
		{"os-flavor-extra-specs:update", admin, "PUT /flavors/{flavor_id}/os-extra_specs/{key}", "set an extra spec"},
		{"os-flavor-extra-specs:delete", admin, "DELETE /flavors/{flavor_id}/os-extra_specs/{key}", "remove an extra spec"},
		{"os-keypairs:index", owner, "GET /os-keypairs", "list key pairs"},
		{"os-keypairs:show", owner, "GET /os-keypairs/{name}", "show a key pair"},
		{"os-keypairs:create", owner, "POST /os-keypairs", "create a key pair"},
		{"os-keypairs:delete", owner, "DELETE /os-keypairs/{name}", "delete a key pair"},
		{"os-server-groups:index", reader, "GET /os-server-groups", "list server groups"},
		{"os-server-groups:index:all_projects", admin, "GET /os-server-groups?all_projects=True", "list server groups of all projects"},
		{"os-server-groups:show", reader, "GET /os-server-groups/{id}", "show a server group"},
		{"os-server-groups:create", member, "POST /os-server-groups", "create a server group"},
		{"os-server-groups:delete", member, "DELETE /os-server-groups/{id}", "delete a server group"},
		{"limits", anyone, "GET /limits", "show limits"},
		{"limits:other_project", admin, "GET /limits", "show limits of another project"},
		{"os-used-limits", admin, "GET /limits", "show what another project uses"},
		{"os-quota-sets:show", reader, "GET /os-quota-sets/{project_id}", "show quotas"},
		{"os-quota-sets:detail", reader, "GET /os-quota-sets/{project_id}/detail", "show quotas in detail"},
		{"os-quota-sets:defaults", anyone, "GET /os-quota-sets/{project_id}/defaults", "show default quotas"},
		{"os-quota-sets:update", admin, "PUT /os-quota-sets/{project_id}", "set quotas"},
		{"os-quota-sets:delete", admin, "DELETE /os-quota-sets/{project_id}", "give a project the default quotas"},
		{"os-quota-class-sets:show", admin, "GET /os-quota-class-sets/{id}", "show a quota class"},
		{"os-quota-class-sets:update", admin, "PUT /os-quota-class-sets/{id}", "set a quota class"},
		{"os-availability-zone:list", anyone, "GET /os-availability-zone", "list availability zones"},
		{"os-availability-zone:detail", admin, "GET /os-availability-zone/detail", "list availability zones with their hosts"},
		{"extensions", anyone, "GET /extensions, GET /extensions/{alias}", "list extensions"},
		{"os-simple-tenant-usage:list", admin, "GET /os-simple-tenant-usage", "show the usage of all projects"},
		{"os-simple-tenant-usage:show", reader, "GET /os-simple-tenant-usage/{project_id}", "show the usage of a project"},
		{"os-server-external-events:create", "rule:service_api", "POST /os-server-external-events", "tell of events on ports"},
	}
}

func adminRules() []ruleLine {
	return []ruleLine{
		{"os-aggregates:index", admin, "GET /os-aggregates", "list aggregates"},
		{"os-aggregates:show", admin, "GET /os-aggregates/{aggregate_id}", "show an aggregate"},
		{"os-aggregates:create", admin, "POST /os-aggregates", "create an aggregate"},
		{"os-aggregates:update", admin, "PUT /os-aggregates/{aggregate_id}", "update an aggregate"},
		{"os-aggregates:delete", admin, "DELETE /os-aggregates/{aggregate_id}", "delete an aggregate"},
		{"os-aggregates:add_host", admin, "POST /os-aggregates/{aggregate_id}/action", "add a host to an aggregate"},
		{"os-aggregates:remove_host", admin, "POST /os-aggregates/{aggregate_id}/action", "remove a host from an aggregate"},
		{"os-aggregates:set_metadata", admin, "POST /os-aggregates/{aggregate_id}/action", "set an aggregate's metadata"},
		{"os-hypervisors:list", admin, "GET /os-hypervisors", "list hypervisors"},
		{"os-hypervisors:list-detail", admin, "GET /os-hypervisors/detail", "list hypervisors in detail"},
		{"os-hypervisors:show", admin, "GET /os-hypervisors/{hypervisor_id}", "show a hypervisor"},
		{"os-hypervisors:statistics", admin, "GET /os-hypervisors/statistics", "sum up hypervisors"},
		{"os-hypervisors:uptime", admin, "GET /os-hypervisors/{hypervisor_id}/uptime", "show a hypervisor's uptime"},
		{"os-hypervisors:search", admin, "GET /os-hypervisors/{pattern}/search", "search hypervisors"},
		{"os-hypervisors:servers", admin, "GET /os-hypervisors/{pattern}/servers", "list servers of hypervisors"},
		{"os-services:list", admin, "GET /os-services", "list services"},
		{"os-services:update", admin, "PUT /os-services/{service_id}", "enable, disable or force down a service"},
		{"os-services:delete", admin, "DELETE /os-services/{service_id}", "forget a service"},
		{"os-migrations:index", admin, "GET /os-migrations", "list migrations"},
		{"os-hosts:list", admin, "GET /os-hosts", "list hosts (old microversions)"},
		{"hastack-audit", admin, "GET /hastack-audit", "show what the auditor compares"},
		{"hastack-audit:fix", admin, "POST /hastack-audit", "set counters right"},
	}
}
