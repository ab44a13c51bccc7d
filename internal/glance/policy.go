package glance

import "github.com/hastack/hastack/internal/policy"

// Checks that several rules share, as Glance publishes them.
const (
	adminOrMember = "rule:context_is_admin or (role:member and project_id:%(project_id)s)"
	canSee        = "(project_id:%(project_id)s or project_id:%(member_id)s or " +
		"'community':%(visibility)s or 'public':%(visibility)s or 'shared':%(visibility)s)"
	adminOrSharedReader = "rule:context_is_admin or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)"
)

// Rules are the policies of the service with Glance's names and defaults.
func Rules() []policy.Rule {
	scopes := []string{"system", "project"}
	rule := func(name, check, description, method, path string) policy.Rule {
		return policy.Rule{Name: name, Check: check, Description: description, Scopes: scopes,
			Operations: []policy.Operation{{Method: method, Path: path}}}
	}
	const images, image = "/v2/images", "/v2/images/{image_id}"
	const members, member = image + "/members", image + "/members/{member_id}"
	return []policy.Rule{
		{Name: "context_is_admin", Check: "role:admin", Description: "who may do everything"},
		rule("add_image", adminOrMember, "create an image", "POST", images),
		rule("get_images", "rule:context_is_admin or role:reader", "list images", "GET", images),
		rule("get_image", "rule:context_is_admin or (role:reader and "+canSee+")", "show an image", "GET", image),
		rule("modify_image", adminOrMember, "change an image", "PATCH", image),
		rule("delete_image", adminOrMember, "delete an image", "DELETE", image),
		rule("publicize_image", "rule:context_is_admin", "make an image public", "PATCH", image),
		rule("communitize_image", adminOrMember, "make an image a community image", "PATCH", image),
		rule("download_image", "rule:context_is_admin or (role:member and "+canSee+")", "download image data", "GET", image+"/file"),
		rule("upload_image", adminOrMember, "upload image data", "PUT", image+"/file"),
		rule("deactivate", adminOrMember, "deactivate an image", "POST", image+"/actions/deactivate"),
		rule("reactivate", adminOrMember, "reactivate an image", "POST", image+"/actions/reactivate"),
		rule("add_member", adminOrMember, "offer an image to a project", "POST", members),
		rule("delete_member", adminOrMember, "withdraw an offer", "DELETE", member),
		rule("get_member", adminOrSharedReader, "show a member", "GET", member),
		rule("get_members", adminOrSharedReader, "list members", "GET", members),
		rule("modify_member", "rule:context_is_admin or (role:member and project_id:%(member_id)s)", "accept or reject an image", "PUT", member),
		rule("stores_info_detail", "rule:context_is_admin", "show the stores in detail", "GET", "/v2/info/stores/detail"),
		rule("get_metadef_namespaces", "rule:context_is_admin or role:reader", "list metadata namespaces", "GET", "/v2/metadefs/namespaces"),
		rule("tasks_api_access", "rule:context_is_admin", "use tasks", "GET", "/v2/tasks"),
	}
}
