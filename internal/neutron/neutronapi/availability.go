package neutronapi

import (
	"math/big"

	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/neutron"
)

type availabilityView struct {
	NetworkID   string               `json:"network_id"`
	NetworkName string               `json:"network_name"`
	ProjectID   string               `json:"project_id"`
	TenantID    string               `json:"tenant_id"`
	TotalIPs    *big.Int             `json:"total_ips"`
	UsedIPs     int                  `json:"used_ips"`
	Subnets     []subnetAvailability `json:"subnet_ip_availability"`
	Details     availabilityDetails  `json:"ip_availability_details"`
}

type subnetAvailability struct {
	SubnetID   string              `json:"subnet_id"`
	SubnetName string              `json:"subnet_name"`
	IPVersion  int                 `json:"ip_version"`
	CIDR       string              `json:"cidr"`
	TotalIPs   *big.Int            `json:"total_ips"`
	UsedIPs    int                 `json:"used_ips"`
	Details    availabilityDetails `json:"ip_availability_details"`
}

type availabilityDetails struct {
	TotalInSubnet *big.Int `json:"total_ips_in_subnet"`
	TotalInPool   *big.Int `json:"total_ips_in_allocation_pool"`
	UsedInSubnet  int      `json:"used_ips_in_subnet"`
	UsedInPool    int      `json:"used_ips_in_allocation_pool"`
}

func viewAvailability(n neutron.NetworkAvailability) any {
	v := &availabilityView{
		NetworkID: n.Network.ID, NetworkName: n.Network.Name, ProjectID: n.Network.ProjectID, TenantID: n.Network.ProjectID,
		TotalIPs: new(big.Int), Subnets: []subnetAvailability{},
		Details: availabilityDetails{TotalInSubnet: new(big.Int), TotalInPool: new(big.Int)},
	}
	for _, s := range n.Subnets {
		d := availabilityDetails{TotalInSubnet: s.InSubnet, TotalInPool: s.InPools, UsedInSubnet: s.Used, UsedInPool: s.UsedInPools}
		v.Subnets = append(v.Subnets, subnetAvailability{
			SubnetID: s.Subnet.ID, SubnetName: s.Subnet.Name, IPVersion: s.Subnet.IPVersion, CIDR: s.Subnet.CIDR,
			TotalIPs: s.InPools, UsedIPs: s.Used, Details: d,
		})
		v.TotalIPs.Add(v.TotalIPs, s.InPools)
		v.Details.TotalInSubnet.Add(v.Details.TotalInSubnet, s.InSubnet)
		v.Details.TotalInPool.Add(v.Details.TotalInPool, s.InPools)
		v.Details.UsedInSubnet += s.Used
		v.Details.UsedInPool += s.UsedInPools
		v.UsedIPs += s.Used
	}
	return v
}

func (a *API) listAvailability(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	q := neutron.Query{Filters: map[string][]string{}}
	for name, values := range r.URL.Query() {
		switch name {
		case "network_id":
			q.Filters["id"] = values
		case "network_name":
			q.Filters["name"] = values
		case "project_id", "tenant_id":
			q.Filters["project_id"] = values
		case "ip_version", "fields":
		default:
			return nil, badRequest("['%s'] is invalid attribute for filtering", clip(name))
		}
	}
	list, err := a.neutron.Availability(r.Context(), a.caller(r), q, r.URL.Query().Get("ip_version"))
	if err != nil {
		return nil, err
	}
	views := []any{}
	for _, n := range list {
		views = append(views, viewAvailability(n))
	}
	return map[string]any{"network_ip_availabilities": views}, nil
}

func (a *API) showAvailability(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	n, err := a.neutron.Network(r.Context(), a.caller(r), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	list, err := a.neutron.Availability(r.Context(), a.caller(r), neutron.Filter("id", n.ID), "")
	if err != nil {
		return nil, err
	}
	return map[string]any{"network_ip_availability": viewAvailability(list[0])}, nil
}
