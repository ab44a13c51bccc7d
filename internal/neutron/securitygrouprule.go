package neutron

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

const (
	ethertypeIPv4 = "IPv4"
	ethertypeIPv6 = "IPv6"
)

// A SecurityGroupRule lets some traffic through. Nil attributes match any.
type SecurityGroupRule struct {
	bun.BaseModel `bun:"table:security_group_rules"`
	Standard

	SecurityGroupID string  `bun:"security_group_id"`
	Direction       string  `bun:"direction"`
	EtherType       string  `bun:"ethertype"`
	Protocol        *string `bun:"protocol"`
	PortRangeMin    *int    `bun:"port_range_min"`
	PortRangeMax    *int    `bun:"port_range_max"`
	RemoteIPPrefix  *string `bun:"remote_ip_prefix"`
	RemoteGroupID   *string `bun:"remote_group_id"`
	Fingerprint     string  `bun:"fingerprint"`

	DefaultGroup bool `bun:"-"`
}

// protocolNumbers are the protocols that have a name, as Neutron names them.
func protocolNumbers() map[string]int {
	return map[string]int{
		"ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "hopopt": 0, "icmp": 1, "igmp": 2, "ip": 0, "ipip": 4,
		"ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "icmpv6": 58, "ipv6-nonxt": 59, "ipv6-opts": 60,
		"ipv6-route": 43, "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112,
	}
}

// fingerprint is equal for rules that let the same traffic through; the table
// has a key on it, which is what refuses a duplicate.
func (r *SecurityGroupRule) fingerprint() string {
	proto := "any"
	if r.Protocol != nil {
		proto = *r.Protocol
		if n, ok := protocolNumbers()[proto]; ok {
			proto = strconv.Itoa(n)
		}
	}
	num := func(p *int) string {
		if p == nil {
			return "-"
		}
		return strconv.Itoa(*p)
	}
	str := func(p *string) string {
		if p == nil {
			return "-"
		}
		return *p
	}
	prefix := str(r.RemoteIPPrefix)
	if prefix == "0.0.0.0/0" || prefix == "::/0" {
		prefix = "-"
	}
	return strings.Join([]string{r.Direction, r.EtherType, proto, num(r.PortRangeMin), num(r.PortRangeMax), prefix, str(r.RemoteGroupID)}, "|")
}

// check refuses rules that no packet filter could hold, and writes the others
// in one form. A rule that passes can be applied by every agent.
func (r *SecurityGroupRule) check() error {
	if r.Direction != "ingress" && r.Direction != "egress" {
		return badRequest(codeBadRequest, "Invalid input for direction. Reason: '%s' is not in ['ingress', 'egress'].", r.Direction)
	}
	switch strings.ToLower(r.EtherType) {
	case "ipv4":
		r.EtherType = ethertypeIPv4
	case "ipv6":
		r.EtherType = ethertypeIPv6
	default:
		return badRequest("SecurityGroupRuleInvalidEtherType", "Security group rule for ethertype '%s' not supported. Allowed values are ['IPv4', 'IPv6'].", r.EtherType)
	}
	if r.RemoteIPPrefix != nil && r.RemoteGroupID != nil {
		return badRequest("SecurityGroupMultipleRemoteEntites", "Only one of remote_ip_prefix or remote_group_id may be provided.")
	}
	if err := r.checkProtocol(); err != nil {
		return err
	}
	if err := r.checkPorts(); err != nil {
		return err
	}
	return r.checkPrefix()
}

func (r *SecurityGroupRule) checkProtocol() error {
	if r.Protocol == nil {
		return nil
	}
	p := strings.ToLower(*r.Protocol)
	if p == "any" || p == "" {
		r.Protocol = nil
		return nil
	}
	n, err := strconv.Atoi(p)
	if num, ok := protocolNumbers()[p]; ok {
		n, err = num, nil
	}
	if err != nil || n < 0 || n > 255 {
		return badRequest("SecurityGroupRuleInvalidProtocol",
			"Security group rule protocol %s not supported. Only protocol values tcp, udp, icmp and others by name, and integer representations [0 to 255] are supported.", p)
	}
	if n == 1 && r.EtherType == ethertypeIPv6 || n == 58 && r.EtherType == ethertypeIPv4 {
		if r.EtherType == ethertypeIPv4 {
			return badRequest("SecurityGroupEthertypeConflictWithProtocol", "Invalid ethertype %s for protocol %s.", r.EtherType, p)
		}
		p = "ipv6-icmp" // "icmp" of an IPv6 rule has always meant this
	}
	if p == "icmpv6" {
		p = "ipv6-icmp"
	}
	r.Protocol = &p
	return nil
}

func (r *SecurityGroupRule) checkPorts() error {
	if r.PortRangeMin == nil && r.PortRangeMax == nil {
		return nil
	}
	if r.Protocol == nil {
		return badRequest("SecurityGroupProtocolRequiredWithPorts", "Must also specify protocol if port range is given.")
	}
	n, ok := protocolNumbers()[*r.Protocol]
	if !ok {
		n, _ = strconv.Atoi(*r.Protocol)
	}
	switch {
	case n == 1 || n == 58:
		for name, v := range map[string]*int{"type": r.PortRangeMin, "code": r.PortRangeMax} {
			if v != nil && (*v < 0 || *v > 255) {
				return badRequest("SecurityGroupInvalidIcmpValue", "Invalid value for ICMP %s (%d). It must be 0 to 255.", name, *v)
			}
		}
		if r.PortRangeMin == nil {
			return badRequest("SecurityGroupMissingIcmpType", "ICMP code (port-range-max) %d is provided but ICMP type (port-range-min) is missing.", *r.PortRangeMax)
		}
	case slices.Contains([]int{6, 17, 33, 132, 136}, n):
		if r.PortRangeMin == nil || r.PortRangeMax == nil || *r.PortRangeMin > *r.PortRangeMax {
			return badRequest("SecurityGroupInvalidPortRange", "For TCP/UDP protocols, port_range_min must be <= port_range_max")
		}
		if *r.PortRangeMin < 0 || *r.PortRangeMax > 65535 || *r.PortRangeMin == 0 {
			return badRequest("SecurityGroupInvalidPortValue", "Invalid value for port %d", *r.PortRangeMin)
		}
	default:
		return badRequest("SecurityGroupInvalidProtocolForPort",
			"Invalid protocol %s for port range, only supported for TCP, UDP, UDPLITE, SCTP and DCCP.", *r.Protocol)
	}
	return nil
}

func (r *SecurityGroupRule) checkPrefix() error {
	if r.RemoteIPPrefix == nil {
		return nil
	}
	text := *r.RemoteIPPrefix
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, aerr := netip.ParseAddr(text)
		if aerr != nil || a.Zone() != "" {
			return badRequest(codeBadRequest, "Invalid input for remote_ip_prefix. Reason: '%s' is not a valid CIDR.", text)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() || p.Addr().Is4() != (r.EtherType == ethertypeIPv4) {
		return badRequest("SecurityGroupRuleParameterConflict", "Conflicting value ethertype %s for CIDR %s", r.EtherType, text)
	}
	canonical := p.Masked().String()
	r.RemoteIPPrefix = &canonical
	return nil
}

// CreateSecurityGroupRules adds rules to groups, all or none.
func (s *Service) CreateSecurityGroupRules(ctx context.Context, c Caller, rules []*SecurityGroupRule) error {
	now := s.clock.Now()
	for _, r := range rules {
		if err := r.check(); err != nil {
			return err
		}
		r.ID, r.RevisionNumber, r.CreatedAt, r.UpdatedAt, r.Tags = newID(r.ID), 1, now, now, sortedSet(r.Tags)
	}
	return s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		for _, r := range rules {
			if err := s.addRule(ctx, tx, c, r); err != nil {
				return err
			}
			ch.groups = append(ch.groups, r.SecurityGroupID)
		}
		return nil
	})
}

func (s *Service) addRule(ctx context.Context, tx bun.Tx, c Caller, r *SecurityGroupRule) error {
	g, err := s.securityGroup(ctx, tx, c, r.SecurityGroupID)
	if err != nil {
		return err
	}
	r.DefaultGroup = g.IsDefault
	r.ProjectID = g.ProjectID
	if r.RemoteGroupID != nil && *r.RemoteGroupID != g.ID {
		if _, err := s.securityGroup(ctx, tx, c, *r.RemoteGroupID); err != nil {
			return err
		}
	}
	if err := s.reserve(ctx, tx, r.ProjectID, quotaRule, 1); err != nil {
		return err
	}
	r.Fingerprint = r.fingerprint()
	if err := insert(ctx, tx, r); err != nil {
		if db.IsDuplicate(err) {
			return conflict("SecurityGroupRuleExists", "Security group rule already exists. Rule id is %s.", s.twinOf(ctx, tx, r))
		}
		if isForeignKey(err) {
			return securityGroupNotFound(r.SecurityGroupID)
		}
		return fmt.Errorf("insert security group rule: %w", err)
	}
	return s.touchGroup(ctx, tx, g.ID)
}

// SecurityGroupRule returns a rule of the caller's project.
func (s *Service) SecurityGroupRule(ctx context.Context, c Caller, id string) (*SecurityGroupRule, error) {
	return s.securityGroupRule(ctx, s.db, c, id)
}

// SecurityGroupRules lists the rules of the caller's project.
func (s *Service) SecurityGroupRules(ctx context.Context, c Caller, q Query) ([]*SecurityGroupRule, error) {
	return s.securityGroupRules(ctx, c, q)
}

// DeleteSecurityGroupRule removes a rule.
func (s *Service) DeleteSecurityGroupRule(ctx context.Context, c Caller, id string) error {
	return s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		r, err := s.securityGroupRule(ctx, tx, c, id)
		if err != nil {
			return err
		}
		if err := s.touchGroup(ctx, tx, r.SecurityGroupID); err != nil {
			return err
		}
		if err := removeRow(ctx, tx, "security_group_rules", id, securityGroupRuleNotFound); err != nil {
			return err
		}
		ch.groups = append(ch.groups, r.SecurityGroupID)
		return release(ctx, tx, r.ProjectID, quotaRule)
	})
}
