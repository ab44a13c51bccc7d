package keystoneapi

import (
	"net/http"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
)

const (
	ok        = http.StatusOK
	made      = http.StatusCreated
	noContent = http.StatusNoContent
)

type route struct {
	pattern, rule string
	status        int
	handler       httpapi.Handler
}

func (a *API) addRoutes() {
	for _, routes := range [][]route{
		a.tokenRoutes(), a.domainRoutes(), a.projectRoutes(), a.userRoutes(), a.groupRoutes(),
		a.roleRoutes(), a.grantRoutes(), a.catalogRoutes(), a.credentialRoutes(), a.absentRoutes(),
	} {
		for _, r := range routes {
			rule := r.rule
			if rule != httpapi.Public && rule != httpapi.AnyToken {
				rule = "identity:" + rule
			}
			a.router.Handle(r.pattern, rule, r.status, r.handler)
		}
	}
}

func (a *API) tokenRoutes() []route {
	return []route{
		{"GET /{$}", httpapi.Public, http.StatusMultipleChoices, a.listVersions},
		{"GET /v3", httpapi.Public, ok, a.showVersion},
		{"POST /v3/auth/tokens", httpapi.Public, made, a.createToken},
		{"GET /v3/auth/tokens", "validate_token", ok, a.showToken},
		{"HEAD /v3/auth/tokens", "check_token", ok, a.checkToken},
		{"DELETE /v3/auth/tokens", "revoke_token", noContent, a.deleteToken},
		{"GET /v3/auth/catalog", "get_auth_catalog", ok, a.showCatalog},
		{"GET /v3/auth/projects", "get_auth_projects", ok, a.listAuthProjects},
		{"GET /v3/auth/domains", "get_auth_domains", ok, a.listAuthDomains},
		{"GET /v3/auth/system", "get_auth_system", ok, a.listAuthSystem},
		{"POST /v3/ec2tokens", "ec2tokens_validate", ok, a.createEC2Token},
	}
}

func (a *API) domainRoutes() []route {
	return []route{
		{"GET /v3/domains", "list_domains", ok, a.listDomains},
		{"POST /v3/domains", "create_domain", made, a.createDomain},
		{"GET /v3/domains/{domain_id}", "get_domain", ok, a.showDomain},
		{"PATCH /v3/domains/{domain_id}", "update_domain", ok, a.updateDomain},
		{"DELETE /v3/domains/{domain_id}", "delete_domain", noContent, a.deleteDomain},
	}
}

func (a *API) projectRoutes() []route {
	return []route{
		{"GET /v3/projects", "list_projects", ok, a.listProjects},
		{"POST /v3/projects", "create_project", made, a.createProject},
		{"GET /v3/projects/{project_id}", "get_project", ok, a.showProject},
		{"PATCH /v3/projects/{project_id}", "update_project", ok, a.updateProject},
		{"DELETE /v3/projects/{project_id}", "delete_project", noContent, a.deleteProject},
		{"GET /v3/projects/{project_id}/tags", "list_project_tags", ok, a.listProjectTags},
		{"PUT /v3/projects/{project_id}/tags", "update_project_tags", ok, a.updateProjectTags},
		{"DELETE /v3/projects/{project_id}/tags", "delete_project_tags", noContent, a.deleteProjectTags},
		{"GET /v3/projects/{project_id}/tags/{tag}", "get_project_tag", noContent, a.checkProjectTag},
		{"PUT /v3/projects/{project_id}/tags/{tag}", "create_project_tag", made, a.createProjectTag},
		{"DELETE /v3/projects/{project_id}/tags/{tag}", "delete_project_tag", noContent, a.deleteProjectTag},
	}
}

func (a *API) userRoutes() []route {
	return []route{
		{"GET /v3/users", "list_users", ok, a.listUsers},
		{"POST /v3/users", "create_user", made, a.createUser},
		{"GET /v3/users/{user_id}", "get_user", ok, a.showUser},
		{"PATCH /v3/users/{user_id}", "update_user", ok, a.updateUser},
		{"DELETE /v3/users/{user_id}", "delete_user", noContent, a.deleteUser},
		// Who knows the old password may change it, whoever asks.
		{"POST /v3/users/{user_id}/password", httpapi.Public, noContent, a.changePassword},
		{"GET /v3/users/{user_id}/groups", "list_groups_for_user", ok, a.listUserGroups},
		{"GET /v3/users/{user_id}/projects", "list_user_projects", ok, a.listUserProjects},
		{"DELETE /v3/users/{user_id}/tokens", "revoke_tokens_for_user", noContent, a.revokeUserTokens},
	}
}

func (a *API) groupRoutes() []route {
	return []route{
		{"GET /v3/groups", "list_groups", ok, a.listGroups},
		{"POST /v3/groups", "create_group", made, a.createGroup},
		{"GET /v3/groups/{group_id}", "get_group", ok, a.showGroup},
		{"PATCH /v3/groups/{group_id}", "update_group", ok, a.updateGroup},
		{"DELETE /v3/groups/{group_id}", "delete_group", noContent, a.deleteGroup},
		{"GET /v3/groups/{group_id}/users", "list_users_in_group", ok, a.listMembers},
		{"GET /v3/groups/{group_id}/users/{user_id}", "check_user_in_group", noContent, a.checkMember},
		{"PUT /v3/groups/{group_id}/users/{user_id}", "add_user_to_group", noContent, a.addMember},
		{"DELETE /v3/groups/{group_id}/users/{user_id}", "remove_user_from_group", noContent, a.removeMember},
	}
}

func (a *API) roleRoutes() []route {
	return []route{
		{"GET /v3/roles", "list_roles", ok, a.listRoles},
		{"POST /v3/roles", "create_role", made, a.createRole},
		{"GET /v3/roles/{role_id}", "get_role", ok, a.showRole},
		{"PATCH /v3/roles/{role_id}", "update_role", ok, a.updateRole},
		{"DELETE /v3/roles/{role_id}", "delete_role", noContent, a.deleteRole},
		{"GET /v3/roles/{role_id}/implies", "list_implied_roles", ok, a.listImplied},
		{"GET /v3/roles/{role_id}/implies/{implied_id}", "get_implied_role", ok, a.showImplied},
		{"HEAD /v3/roles/{role_id}/implies/{implied_id}", "check_implied_role", noContent, a.checkImplied},
		{"PUT /v3/roles/{role_id}/implies/{implied_id}", "create_implied_role", made, a.createImplied},
		{"DELETE /v3/roles/{role_id}/implies/{implied_id}", "delete_implied_role", noContent, a.deleteImplied},
		{"GET /v3/role_inferences", "list_role_inference_rules", ok, a.listInferences},
		{"GET /v3/role_assignments", "list_role_assignments", ok, a.listAssignments},
	}
}

// grantRoutes are made of actor and target: the same four verbs on each pair,
// and once more under OS-INHERIT for inherited assignments.
func (a *API) grantRoutes() []route {
	var out []route
	add := func(base, suffix, rule string, g grant) {
		out = append(out,
			route{"GET " + base + "/roles" + suffix, "list_" + rule, ok, a.listGrants(g)},
			route{"GET " + base + "/roles/{role_id}" + suffix, "check_" + single(rule), noContent, a.checkGrant(g)},
			route{"PUT " + base + "/roles/{role_id}" + suffix, "create_" + single(rule), noContent, a.createGrant(g)},
			route{"DELETE " + base + "/roles/{role_id}" + suffix, "revoke_" + single(rule), noContent, a.revokeGrant(g)})
	}
	for _, actor := range []string{"user", "group"} {
		for _, target := range []string{"project", "domain"} {
			base := "/" + target + "s/{" + target + "_id}/" + actor + "s/{" + actor + "_id}"
			add("/v3"+base, "", "grants", grant{actor, target, false})
			add("/v3/OS-INHERIT"+base, "/inherited_to_projects", "grants", grant{actor, target, true})
		}
		add("/v3/system/"+actor+"s/{"+actor+"_id}", "", "system_grants_for_"+actor, grant{actor, "system", false})
	}
	return out
}

func (a *API) catalogRoutes() []route {
	return []route{
		{"GET /v3/regions", "list_regions", ok, a.listRegions},
		{"POST /v3/regions", "create_region", made, a.createRegion},
		{"PUT /v3/regions/{region_id}", "create_region", made, a.createRegion},
		{"GET /v3/regions/{region_id}", "get_region", ok, a.showRegion},
		{"PATCH /v3/regions/{region_id}", "update_region", ok, a.updateRegion},
		{"DELETE /v3/regions/{region_id}", "delete_region", noContent, a.deleteRegion},
		{"GET /v3/services", "list_services", ok, a.listServices},
		{"POST /v3/services", "create_service", made, a.createService},
		{"GET /v3/services/{service_id}", "get_service", ok, a.showService},
		{"PATCH /v3/services/{service_id}", "update_service", ok, a.updateService},
		{"DELETE /v3/services/{service_id}", "delete_service", noContent, a.deleteService},
		{"GET /v3/endpoints", "list_endpoints", ok, a.listEndpoints},
		{"POST /v3/endpoints", "create_endpoint", made, a.createEndpoint},
		{"GET /v3/endpoints/{endpoint_id}", "get_endpoint", ok, a.showEndpoint},
		{"PATCH /v3/endpoints/{endpoint_id}", "update_endpoint", ok, a.updateEndpoint},
		{"DELETE /v3/endpoints/{endpoint_id}", "delete_endpoint", noContent, a.deleteEndpoint},
	}
}

func (a *API) credentialRoutes() []route {
	const user = "/v3/users/{user_id}"
	return []route{
		{"GET " + user + "/application_credentials", "list_application_credentials", ok, a.listAppCreds},
		{"POST " + user + "/application_credentials", "create_application_credential", made, a.createAppCred},
		{"GET " + user + "/application_credentials/{id}", "get_application_credential", ok, a.showAppCred},
		{"DELETE " + user + "/application_credentials/{id}", "delete_application_credential", noContent, a.deleteAppCred},
		{"GET " + user + "/credentials/OS-EC2", "ec2_list_credentials", ok, a.listEC2Keys},
		{"POST " + user + "/credentials/OS-EC2", "ec2_create_credential", made, a.createEC2Key},
		{"GET " + user + "/credentials/OS-EC2/{access}", "ec2_get_credential", ok, a.showEC2Key},
		{"DELETE " + user + "/credentials/OS-EC2/{access}", "ec2_delete_credential", noContent, a.deleteEC2Key},
		{"GET /v3/credentials", "list_credentials", ok, a.listCredentials},
		{"POST /v3/credentials", "create_credential", made, a.createCredential},
		{"GET /v3/credentials/{credential_id}", "get_credential", ok, a.showCredential},
		{"PATCH /v3/credentials/{credential_id}", "update_credential", ok, a.updateCredential},
		{"DELETE /v3/credentials/{credential_id}", "delete_credential", noContent, a.deleteCredential},
	}
}

// absentRoutes answer 501 for parts of identity v3 that are not built, so that
// a client can tell them from a wrong path.
func (a *API) absentRoutes() []route {
	var out []route
	for what, path := range map[string]string{
		"limits": "/v3/limits", "registered limits": "/v3/registered_limits", "trusts": "/v3/OS-TRUST/trusts",
		"access rules": "/v3/users/{user_id}/access_rules", "policies": "/v3/policies",
		"domain configuration": "/v3/domains/{domain_id}/config", "federation": "/v3/OS-FEDERATION",
		"oauth": "/v3/OS-OAUTH1", "endpoint filters": "/v3/OS-EP-FILTER", "tokens for s3": "/v3/s3tokens",
	} {
		h := func(*httpapi.Request) (any, error) {
			return nil, fault.New(fault.NotImplemented, "%s: not implemented", what)
		}
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			out = append(out, route{method + " " + path, httpapi.AnyToken, ok, h})
			out = append(out, route{method + " " + path + "/{rest...}", httpapi.AnyToken, ok, h})
		}
	}
	return out
}

// single turns the plural in the name of a list rule into what the other rules
// say: grants, system_grants_for_user.
func single(rule string) string {
	if rule == "grants" {
		return "grant"
	}
	return "system_grant" + rule[len("system_grants"):]
}
