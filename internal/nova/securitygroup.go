package nova

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/openstack"
)

// A SecurityGroup is Neutron's, as os-security-groups shows it.
type SecurityGroup struct {
	ID          string              `json:"id"`
	Name        string              `json:"name"`
	Description string              `json:"description"`
	ProjectID   string              `json:"project_id"`
	Rules       []SecurityGroupRule `json:"security_group_rules"`
}

// A SecurityGroupRule is Neutron's. Remote is the group RemoteID names, where
// that was looked up and the caller may see it.
type SecurityGroupRule struct {
	ID        string         `json:"id"`
	GroupID   string         `json:"security_group_id"`
	Direction string         `json:"direction"`
	EtherType string         `json:"ethertype"`
	Protocol  *string        `json:"protocol"`
	MinPort   *int           `json:"port_range_min"`
	MaxPort   *int           `json:"port_range_max"`
	Prefix    *string        `json:"remote_ip_prefix"`
	RemoteID  *string        `json:"remote_group_id"`
	Remote    *SecurityGroup `json:"-"`
}

// Ports are the rule's ports as Nova tells them: a protocol without ports has
// all of them, or -1 where the protocol has none.
func (r *SecurityGroupRule) Ports() (from, to *int) {
	if r.Protocol == nil || r.MinPort != nil || r.MaxPort != nil {
		return r.MinPort, r.MaxPort
	}
	low, high := -1, -1
	if p := strings.ToLower(*r.Protocol); p == "tcp" || p == "udp" {
		low, high = 1, 65535
	}
	return &low, &high
}

// CIDR is where the rule's traffic may come from; everywhere if it names
// nothing.
func (r *SecurityGroupRule) CIDR() string {
	switch {
	case r.Prefix != nil:
		return *r.Prefix
	case r.EtherType == "IPv6":
		return "::/0"
	default:
		return "0.0.0.0/0"
	}
}

// SecurityGroups lists the security groups of the caller's project, or with an
// id only that one.
func (s *Service) SecurityGroups(ctx context.Context, who *authtoken.Identity, id string) ([]SecurityGroup, error) {
	sc, err := s.networkFor(ctx, who)
	if err != nil {
		return nil, err
	}
	query := url.Values{"project_id": {who.ProjectID}}
	if id != "" {
		query = url.Values{"id": {id}}
	}
	groups, err := listGroups(ctx, sc, query)
	if err != nil {
		return nil, err
	}
	if id != "" && len(groups) == 0 {
		return nil, fault.New(fault.NotFound, "Security group %s not found.", id)
	}
	return groups, nameRemotes(ctx, sc, groups)
}

// CreateSecurityGroup makes a security group in the caller's project.
func (s *Service) CreateSecurityGroup(ctx context.Context, who *authtoken.Identity, name, description string) (*SecurityGroup, error) {
	return s.writeGroup(ctx, who, http.MethodPost, "", map[string]string{"name": name, "description": description})
}

// UpdateSecurityGroup renames a group and describes it anew.
func (s *Service) UpdateSecurityGroup(ctx context.Context, who *authtoken.Identity, id, name, description string) (*SecurityGroup, error) {
	return s.writeGroup(ctx, who, http.MethodPut, "/"+url.PathEscape(id), map[string]string{"name": name, "description": description})
}

func (s *Service) writeGroup(ctx context.Context, who *authtoken.Identity, method, path string, in any) (*SecurityGroup, error) {
	sc, err := s.networkFor(ctx, who)
	if err != nil {
		return nil, err
	}
	var out struct {
		Group SecurityGroup `json:"security_group"`
	}
	_, err = sc.Request(ctx, method, sc.ServiceURL("security-groups")+path, &gophercloud.RequestOpts{
		JSONBody: map[string]any{"security_group": in}, JSONResponse: &out, OkCodes: []int{http.StatusOK, http.StatusCreated}})
	if err != nil {
		return nil, openstack.Fault(err)
	}
	groups := []SecurityGroup{out.Group}
	return &groups[0], nameRemotes(ctx, sc, groups)
}

// DeleteSecurityGroup deletes a group that no port uses.
func (s *Service) DeleteSecurityGroup(ctx context.Context, who *authtoken.Identity, id string) error {
	return s.deleteOfNetwork(ctx, who, "security-groups", id)
}

// CreateSecurityGroupRule lets traffic in: from r.Prefix, or from servers in
// the group r.RemoteID.
func (s *Service) CreateSecurityGroupRule(ctx context.Context, who *authtoken.Identity, r SecurityGroupRule) (*SecurityGroupRule, error) {
	sc, err := s.networkFor(ctx, who)
	if err != nil {
		return nil, err
	}
	in := map[string]any{"security_group_id": r.GroupID, "direction": "ingress", "ethertype": cmp.Or(r.EtherType, "IPv4"), "protocol": r.Protocol,
		"port_range_min": r.MinPort, "port_range_max": r.MaxPort, "remote_ip_prefix": r.Prefix, "remote_group_id": r.RemoteID}
	var out struct {
		Rule SecurityGroupRule `json:"security_group_rule"`
	}
	if _, err := sc.Post(ctx, sc.ServiceURL("security-group-rules"), map[string]any{"security_group_rule": in}, &out, nil); err != nil {
		return nil, openstack.Fault(err)
	}
	groups := []SecurityGroup{{Rules: []SecurityGroupRule{out.Rule}}}
	return &groups[0].Rules[0], nameRemotes(ctx, sc, groups)
}

// DeleteSecurityGroupRule takes a rule out of its group.
func (s *Service) DeleteSecurityGroupRule(ctx context.Context, who *authtoken.Identity, id string) error {
	return s.deleteOfNetwork(ctx, who, "security-group-rules", id)
}

func (s *Service) deleteOfNetwork(ctx context.Context, who *authtoken.Identity, collection, id string) error {
	sc, err := s.networkFor(ctx, who)
	if err != nil {
		return err
	}
	if _, err := sc.Delete(ctx, sc.ServiceURL(collection, url.PathEscape(id)), nil); err != nil {
		return openstack.Fault(err)
	}
	return nil
}

// networkFor is Neutron as the caller, who may do there what they may.
func (s *Service) networkFor(ctx context.Context, who *authtoken.Identity) (*gophercloud.ServiceClient, error) {
	clients, err := s.clients.ForUser(ctx, who)
	if err != nil {
		return nil, err
	}
	return clients.Network(ctx)
}

func listGroups(ctx context.Context, sc *gophercloud.ServiceClient, query url.Values) ([]SecurityGroup, error) {
	var out struct {
		List []SecurityGroup `json:"security_groups"`
	}
	if _, err := sc.Get(ctx, sc.ServiceURL("security-groups")+"?"+query.Encode(), &out, nil); err != nil {
		return nil, openstack.Fault(err)
	}
	return out.List, nil
}

// nameRemotes looks up, at once, the groups that rules let traffic in from.
func nameRemotes(ctx context.Context, sc *gophercloud.ServiceClient, groups []SecurityGroup) error {
	known := map[string]*SecurityGroup{}
	for i := range groups {
		known[groups[i].ID] = &groups[i]
	}
	var missing []string
	for _, g := range groups {
		for _, r := range g.Rules {
			if r.RemoteID != nil && known[*r.RemoteID] == nil && !slices.Contains(missing, *r.RemoteID) {
				missing = append(missing, *r.RemoteID)
			}
		}
	}
	if len(missing) > 0 {
		more, err := listGroups(ctx, sc, url.Values{"id": missing})
		if err != nil {
			return err
		}
		for i := range more {
			known[more[i].ID] = &more[i]
		}
	}
	for i := range groups {
		for j := range groups[i].Rules {
			if r := &groups[i].Rules[j]; r.RemoteID != nil {
				r.Remote = known[*r.RemoteID]
			}
		}
	}
	return nil
}
