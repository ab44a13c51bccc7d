package placement

import "github.com/hastack/hastack/internal/policy"

const (
	adminOrService       = "rule:admin_or_service_api"
	adminReaderOrService = "rule:admin_or_project_reader_or_service_api"
)

// Rules are the published rules of Placement with their defaults.
func Rules() []policy.Rule {
	rules := []policy.Rule{
		{Name: "admin_api", Check: "role:admin", Description: "Default rule for most placement APIs."},
		{Name: "service_api", Check: "role:service", Description: "Default rule for service-to-service placement APIs."},
		{Name: "admin_or_service_api", Check: "role:admin or role:service", Description: "Default rule for most placement APIs."},
		{Name: "project_reader_api", Check: "role:reader and project_id:%(project_id)s", Description: "Default rule for Project level reader APIs."},
		{
			Name: "admin_or_project_reader_or_service_api", Check: "role:admin or rule:project_reader_api or role:service",
			Description: "Default rule for project level reader APIs.",
		},
	}
	for _, r := range []struct{ name, method, path, check, text string }{
		{"placement:resource_providers:list", "GET", "/resource_providers", "", "List resource providers."},
		{"placement:resource_providers:create", "POST", "/resource_providers", "", "Create a resource provider."},
		{"placement:resource_providers:show", "GET", "/resource_providers/{uuid}", "", "Show resource provider."},
		{"placement:resource_providers:update", "PUT", "/resource_providers/{uuid}", "", "Update a resource provider."},
		{"placement:resource_providers:delete", "DELETE", "/resource_providers/{uuid}", "", "Delete a resource provider."},
		{"placement:resource_classes:list", "GET", "/resource_classes", "", "List resource classes."},
		{"placement:resource_classes:create", "POST", "/resource_classes", "", "Create a resource class."},
		{"placement:resource_classes:show", "GET", "/resource_classes/{name}", "", "Show resource class."},
		{"placement:resource_classes:update", "PUT", "/resource_classes/{name}", "", "Update a resource class."},
		{"placement:resource_classes:delete", "DELETE", "/resource_classes/{name}", "", "Delete a resource class."},
		{"placement:resource_providers:inventories:list", "GET", "/resource_providers/{uuid}/inventories", "", "List resource provider inventories."},
		{"placement:resource_providers:inventories:create", "POST", "/resource_providers/{uuid}/inventories", "", "Create one resource provider inventory."},
		{"placement:resource_providers:inventories:show", "GET", "/resource_providers/{uuid}/inventories/{resource_class}", "", "Show resource provider inventory."},
		{"placement:resource_providers:inventories:update", "PUT", "/resource_providers/{uuid}/inventories", "", "Update resource provider inventory."},
		{"placement:resource_providers:inventories:delete", "DELETE", "/resource_providers/{uuid}/inventories", "", "Delete resource provider inventory."},
		{"placement:resource_providers:aggregates:list", "GET", "/resource_providers/{uuid}/aggregates", "", "List resource provider aggregates."},
		{"placement:resource_providers:aggregates:update", "PUT", "/resource_providers/{uuid}/aggregates", "", "Update resource provider aggregates."},
		{"placement:resource_providers:usages", "GET", "/resource_providers/{uuid}/usages", "", "List resource provider usages."},
		{"placement:usages", "GET", "/usages", adminReaderOrService, "List total resource usages for a given project."},
		{"placement:traits:list", "GET", "/traits", "", "List traits."},
		{"placement:traits:show", "GET", "/traits/{name}", "", "Show trait."},
		{"placement:traits:update", "PUT", "/traits/{name}", "", "Update trait."},
		{"placement:traits:delete", "DELETE", "/traits/{name}", "", "Delete trait."},
		{"placement:resource_providers:traits:list", "GET", "/resource_providers/{uuid}/traits", "", "List resource provider traits."},
		{"placement:resource_providers:traits:update", "PUT", "/resource_providers/{uuid}/traits", "", "Update resource provider traits."},
		{"placement:resource_providers:traits:delete", "DELETE", "/resource_providers/{uuid}/traits", "", "Delete resource provider traits."},
		{"placement:allocations:manage", "POST", "/allocations", "", "Manage allocations."},
		{"placement:allocations:list", "GET", "/allocations/{consumer_uuid}", "", "List allocations."},
		{"placement:allocations:update", "PUT", "/allocations/{consumer_uuid}", "", "Update allocations."},
		{"placement:allocations:delete", "DELETE", "/allocations/{consumer_uuid}", "", "Delete allocations."},
		{"placement:resource_providers:allocations:list", "GET", "/resource_providers/{uuid}/allocations", "", "List resource provider allocations."},
		{"placement:allocation_candidates:list", "GET", "/allocation_candidates", "", "List allocation candidates."},
		{"placement:reshaper:reshape", "POST", "/reshaper", "rule:service_api", "Reshape inventory and allocations."},
	} {
		if r.check == "" {
			r.check = adminOrService
		}
		rules = append(rules, policy.Rule{
			Name: r.name, Check: r.check, Description: r.text, Scopes: []string{"project"},
			Operations: []policy.Operation{{Method: r.method, Path: r.path}},
		})
	}
	return rules
}
