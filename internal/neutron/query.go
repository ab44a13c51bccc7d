package neutron

import "slices"

// A Caller is who asks, as far as visibility goes: an administrator sees every
// row, others see their project's and what is shared with it.
type Caller struct {
	UserID    string
	ProjectID string
	Admin     bool
}

// Internal is the caller of work that the service does for itself.
var internal = Caller{Admin: true}

// Sort is one key of an ordering.
type Sort struct {
	Key  string
	Desc bool
}

// A Query narrows, orders and cuts a list. Filters with several values match
// any of them. Marker is the id of the last resource of the page before.
type Query struct {
	Filters map[string][]string
	Sorts   []Sort
	Limit   int
	Marker  string
	Reverse bool
}

// Filter returns a query for rows whose attribute has one of the values.
func Filter(attribute string, values ...string) Query {
	return Query{Filters: map[string][]string{attribute: values}}
}

// Filterable lists the attributes by which each kind of resource may be
// filtered, for the API to refuse others before anything is read.
func Filterable(kind Kind) func(name string) bool {
	cols := columnsOf(kind)
	return func(name string) bool {
		if slices.Contains(tagFilters, name) {
			return kind.tagged()
		}
		_, ok := cols[name]
		return ok
	}
}

// Kind names a sort of resource, in the plural as its URL does.
type Kind string

// The kinds of resources, as in their URLs.
const (
	Networks           Kind = "networks"
	Subnets            Kind = "subnets"
	Ports              Kind = "ports"
	Routers            Kind = "routers"
	FloatingIPs        Kind = "floatingips"
	SecurityGroups     Kind = "security-groups"
	SecurityGroupRules Kind = "security-group-rules"
	RBACPolicies       Kind = "rbac-policies"
	Agents             Kind = "agents"
)

func (k Kind) tagged() bool {
	return k != RBACPolicies && k != Agents
}

var tagFilters = []string{"tags", "tags-any", "not-tags", "not-tags-any"}
