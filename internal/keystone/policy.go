package keystone

import "strings"

import "github.com/hastack/hastack/internal/policy"

// The checks of Keystone's published policy, put together as its own defaults
// are: an administrator anywhere, a reader of the system, and who has the role
// on the domain that owns the target.
const (
	adminRequired = "rule:admin_required"
	systemReader  = "role:reader and system_scope:all"
	adminOrReader = "rule:admin_required or (role:reader and system_scope:all)"
	ownerOrAdmin  = "rule:admin_required or rule:owner"
	ownerOrReader = "rule:admin_required or (role:reader and system_scope:all) or rule:owner"
	credOwner     = " or user_id:%(target.credential.user_id)s"
)

func domainReader(attr string) string { return " or (role:reader and domain_id:%(" + attr + ")s)" }

func domainManager(attr string) string { return " or (role:manager and domain_id:%(" + attr + ")s)" }

// grantIn is the part of the grant rules for a manager or reader of the domain
// that owns actor, target and role.
func grantIn(role string) string {
	var out strings.Builder
	for _, actor := range []string{"target.user.domain_id", "target.group.domain_id"} {
		for _, target := range []string{"target.project.domain_id", "target.domain.id"} {
			out.WriteString(" or (role:" + role + " and domain_id:%(" + actor + ")s and domain_id:%(" + target + ")s)")
		}
	}
	return out.String()[len(" or "):]
}

const grantRole = "(None:%(target.role.domain_id)s or domain_id:%(target.role.domain_id)s)"

// managed are the roles a domain manager may give: not admin, not manager.
const managed = "('member':%(target.role.name)s or 'reader':%(target.role.name)s)"

var (
	anyScope      = []string{"system", "domain", "project"}
	systemProject = []string{"system", "project"}
)

// Rules are Keystone's policy rules under their published names.
func Rules() []policy.Rule {
	rules := []policy.Rule{
		{Name: "admin_required", Check: "role:admin"},
		{Name: "service_role", Check: "role:service"},
		{Name: "service_or_admin", Check: "rule:admin_required or rule:service_role"},
		{Name: "owner", Check: "user_id:%(user_id)s"},
		{Name: "admin_or_owner", Check: ownerOrAdmin},
		{Name: "token_subject", Check: "user_id:%(target.token.user_id)s"},
		{Name: "admin_or_token_subject", Check: "rule:admin_required or rule:token_subject"},
		{Name: "service_admin_or_token_subject", Check: "rule:service_or_admin or rule:token_subject"},
	}
	add := func(scopes []string, check string, names ...string) {
		for _, n := range names {
			rules = append(rules, policy.Rule{Name: "identity:" + n, Check: check, Scopes: scopes})
		}
	}
	add(nil, "", "get_auth_catalog", "get_auth_projects", "get_auth_domains", "get_auth_system",
		"list_projects_for_user", "list_domains_for_user")
	add(anyScope, "", "get_region", "list_regions")
	add(anyScope, "rule:admin_required or (role:reader and system_scope:all) or rule:token_subject", "check_token")
	add(anyScope, "rule:admin_required or (role:reader and system_scope:all) or rule:service_role or rule:token_subject", "validate_token")
	add(anyScope, "rule:admin_required or rule:token_subject", "revoke_token")
	add(anyScope, "rule:service_or_admin", "ec2tokens_validate")

	add(systemProject, adminOrReader, "get_role", "list_roles", "get_domain_role", "list_domain_roles",
		"get_implied_role", "list_implied_roles", "check_implied_role", "list_role_inference_rules",
		"get_service", "list_services", "get_endpoint", "list_endpoints",
		"check_system_grant_for_user", "list_system_grants_for_user",
		"check_system_grant_for_group", "list_system_grants_for_group")
	add(systemProject, adminRequired, "create_role", "update_role", "delete_role",
		"create_domain_role", "update_domain_role", "delete_domain_role",
		"create_implied_role", "delete_implied_role",
		"create_region", "update_region", "delete_region",
		"create_service", "update_service", "delete_service",
		"create_endpoint", "update_endpoint", "delete_endpoint",
		"create_domain", "update_domain", "delete_domain",
		"create_system_grant_for_user", "revoke_system_grant_for_user",
		"create_system_grant_for_group", "revoke_system_grant_for_group")

	rules = append(rules, resourceRules()...)
	rules = append(rules, credentialRules()...)
	return rules
}

func resourceRules() []policy.Rule {
	rule := func(name, check string) policy.Rule {
		return policy.Rule{Name: "identity:" + name, Check: check, Scopes: anyScope}
	}
	projectReader := adminOrReader + domainReader("target.project.domain_id") + " or project_id:%(target.project.id)s"
	projectManager := adminRequired + domainManager("target.project.domain_id")
	projectTagger := projectManager + " or (role:admin and project_id:%(target.project.id)s)"
	userManager := adminRequired + domainManager("target.user.domain_id")
	groupManager := adminRequired + domainManager("target.group.domain_id")
	memberOf := "domain_id:%(target.group.domain_id)s and domain_id:%(target.user.domain_id)s)"
	return []policy.Rule{
		rule("get_domain", adminOrReader+" or token.domain.id:%(target.domain.id)s or token.project.domain.id:%(target.domain.id)s"),
		rule("list_domains", adminOrReader+domainReader("target.domain.id")),
		rule("get_project", projectReader),
		rule("list_projects", adminOrReader+domainReader("target.domain_id")),
		rule("list_user_projects", adminOrReader+domainReader("target.user.domain_id")+" or user_id:%(target.user.id)s"),
		rule("create_project", projectManager),
		rule("update_project", projectManager),
		rule("delete_project", projectManager),
		rule("list_project_tags", projectReader),
		rule("get_project_tag", projectReader),
		rule("update_project_tags", projectTagger),
		rule("create_project_tag", projectTagger),
		rule("delete_project_tags", projectTagger),
		rule("delete_project_tag", projectTagger),
		rule("get_user", adminOrReader+domainReader("target.user.domain_id")+" or user_id:%(target.user.id)s"),
		rule("list_users", adminOrReader+domainReader("target.domain_id")),
		rule("create_user", userManager),
		rule("update_user", userManager),
		rule("delete_user", userManager),
		rule("revoke_tokens_for_user", ownerOrAdmin),
		rule("get_group", adminOrReader+domainReader("target.group.domain_id")),
		rule("list_groups", adminOrReader+domainReader("target.group.domain_id")),
		rule("list_groups_for_user", adminOrReader+domainReader("target.user.domain_id")+" or user_id:%(user_id)s"),
		rule("create_group", groupManager),
		rule("update_group", groupManager),
		rule("delete_group", groupManager),
		rule("list_users_in_group", adminOrReader+domainReader("target.group.domain_id")),
		rule("check_user_in_group", adminOrReader+" or (role:reader and "+memberOf),
		rule("add_user_to_group", adminRequired+" or (role:manager and "+memberOf),
		rule("remove_user_from_group", adminRequired+" or (role:manager and "+memberOf),
		rule("check_grant", adminOrReader+" or ("+grantIn("reader")+") and "+grantRole),
		rule("list_grants", adminOrReader+" or "+grantIn("reader")),
		rule("create_grant", adminRequired+" or ("+grantIn("manager")+") and "+managed),
		rule("revoke_grant", adminRequired+" or ("+grantIn("manager")+") and "+managed),
		rule("list_role_assignments", adminOrReader+domainReader("target.domain_id")),
		rule("list_role_assignments_for_tree", adminOrReader+domainReader("target.project.domain_id")+" or (role:admin and project_id:%(target.project.id)s)"),
	}
}

func credentialRules() []policy.Rule {
	rule := func(name, check string) policy.Rule {
		return policy.Rule{Name: "identity:" + name, Check: check, Scopes: systemProject}
	}
	return []policy.Rule{
		rule("get_credential", adminOrReader+credOwner),
		rule("list_credentials", adminOrReader+credOwner),
		rule("create_credential", adminRequired+credOwner),
		rule("update_credential", adminRequired+credOwner),
		rule("delete_credential", adminRequired+credOwner),
		rule("ec2_get_credential", adminOrReader+credOwner),
		rule("ec2_list_credentials", ownerOrReader),
		rule("ec2_create_credential", ownerOrAdmin),
		rule("ec2_delete_credential", adminRequired+credOwner),
		rule("get_application_credential", ownerOrReader),
		rule("list_application_credentials", ownerOrReader),
		rule("delete_application_credential", ownerOrAdmin),
		{Name: "identity:create_application_credential", Check: "rule:owner", Scopes: []string{"project"}},
	}
}
