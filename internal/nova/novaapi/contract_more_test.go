package novaapi_test

// The samples of microversions between the turning points of contract(): what
// changed for one resource must not have changed another.

func moreSamples() []sampleTest {
	var list []sampleTest
	for _, part := range [][]sampleTest{moreServers(), moreAggregates(), moreHosts(), moreQuotas(), moreOthers()} {
		list = append(list, part...)
	}
	return list
}

func moreServers() []sampleTest {
	// Room for all of them.
	list := []sampleTest{asAdmin(send("os-quota-sets/v2.36/quotas-update-post-resp.json", "PUT", "/os-quota-sets/{project}", 200,
		M{"quota_set": M{"instances": 100, "cores": 100, "ram": 1 << 20}}))}
	for _, v := range []string{"v2.3/", "v2.9/", "v2.16/", "v2.19/", "v2.47/", "v2.52/", "v2.90/"} {
		list = append(list, but("_links", get("servers/"+v+"servers-list-resp.json", "/servers?limit=1")))
	}
	for _, v := range []string{"v2.19/", "v2.32/", "v2.42/", "v2.47/", "v2.52/", "v2.57/", "v2.66/", "v2.67/", "v2.69/", "v2.71/", "v2.73/", "v2.74/"} {
		body := M{"name": "more", "imageRef": "{image}", "flavorRef": "{flavor}"}
		if v >= "v2.37/" {
			body["networks"] = "none"
		}
		list = append(list, send("servers/"+v+"server-create-resp.json", "POST", "/servers", 202, M{"server": body}))
	}
	for _, v := range []string{"v2.47/", "v2.63/", "v2.71/", "v2.73/"} {
		list = append(list, but(srvSkip, send("servers/"+v+"server-update-resp.json", "PUT", "/servers/{server}", 200, M{"server": M{"name": "renamed"}})))
	}
	for _, v := range []string{"v2.58/", "v2.62/", "v2.66/", "v2.84/"} {
		list = append(list, get("os-instance-actions/"+v+"instance-actions-list-with-limit-resp.json", "/servers/{server}/os-instance-actions?limit=1"))
	}
	return append(list,
		but("_links", get("servers/servers-list-status-resp.json", "/servers?status=active&limit=1000")),
		but("_links", get("servers-sort/server-sort-keys-list-resp.json", "/servers?limit=1&sort_key=display_name&sort_dir=asc")),
		send("os-multiple-create/multiple-create-no-resv-post-resp.json", "POST", "/servers", 202,
			M{"server": M{"name": "many", "imageRef": "{image}", "flavorRef": "{flavor}", "min_count": 1, "max_count": 2}}),
		send("os-multiple-create/multiple-create-post-resp.json", "POST", "/servers", 202,
			M{"server": M{"name": "many", "imageRef": "{image}", "flavorRef": "{flavor}", "min_count": 1, "max_count": 2, "return_reservation_id": true}}),
		but("vnet", asAdmin(get("os-server-diagnostics/server-diagnostics-get-resp.json", "/servers/{server}/diagnostics"))),
		get("os-attach-interfaces/v2.70/attach-interfaces-show-resp.json", "/servers/{server}/os-interface/{port}"),
		send("os-attach-interfaces/attach-interfaces-create-resp.json", "POST", "/servers/{server}/os-interface", 200, M{"interfaceAttachment": M{"net_id": "{network}"}}),
		send("os-attach-interfaces/v2.70/attach-interfaces-create-resp.json", "POST", "/servers/{server}/os-interface", 200, M{"interfaceAttachment": M{"net_id": "{network}"}}),
		send("server-metadata/server-metadata-resp.json", "PUT", "/servers/{server}/metadata/foo", 200, M{"meta": M{"foo": "bar"}}),
	)
}

func moreAggregates() []sampleTest {
	const act = "/os-aggregates/{aggregate}/action"
	var list []sampleTest
	for i, v := range []string{"", "v2.41/", "v2.81/"} {
		list = append(list,
			get("os-aggregates/"+v+"aggregates-list-get-resp.json", "/os-aggregates"),
			get("os-aggregates/"+v+"aggregates-get-resp.json", "/os-aggregates/{aggregate}"),
			send("os-aggregates/"+v+"aggregate-post-resp.json", "POST", "/os-aggregates", 200, M{"aggregate": M{"name": string(rune('a' + i)), "availability_zone": "london"}}),
			send("os-aggregates/"+v+"aggregate-update-post-resp.json", "PUT", "/os-aggregates/{aggregate}", 200, M{"aggregate": M{"name": "newname"}}),
			send("os-aggregates/"+v+"aggregates-metadata-post-resp.json", "POST", act, 200, M{"set_metadata": M{"metadata": M{"key": "value"}}}),
		)
	}
	return allAsAdmin(list)
}

func moreHosts() []sampleTest {
	list := []sampleTest{
		get("os-hypervisors/v2.28/hypervisors-statistics-resp.json", "/os-hypervisors/statistics"),
		get("os-hypervisors/v2.28/hypervisors-search-resp.json", "/os-hypervisors/host/search"),
		get("os-hypervisors/v2.28/hypervisors-with-servers-resp.json", "/os-hypervisors/host1/servers"),
		get("os-hypervisors/v2.53/hypervisors-statistics-resp.json", "/os-hypervisors/statistics"),
		get("os-hypervisors/v2.53/hypervisors-search-resp.json", "/os-hypervisors?hypervisor_hostname_pattern=host"),
		get("os-hypervisors/v2.53/hypervisors-with-servers-resp.json", "/os-hypervisors?with_servers=1"),
		get("os-hypervisors/v2.53/hypervisors-uptime-resp.json", "/os-hypervisors/{hypervisor}/uptime"),
		but("_links", get("os-hypervisors/v2.33/hypervisors-list-resp.json", "/os-hypervisors?limit=1")),
		but("_links", get("os-hypervisors/v2.33/hypervisors-detail-resp.json", "/os-hypervisors/detail?limit=1")),
		get("os-hypervisors/v2.53/hypervisors-detail-with-servers-resp.json", "/os-hypervisors/detail?with_servers=1"),
		get("os-hypervisors/v2.88/hypervisors-detail-with-servers-resp.json", "/os-hypervisors/detail?with_servers=1"),
		get("os-hypervisors/v2.88/hypervisors-search-resp.json", "/os-hypervisors?hypervisor_hostname_pattern=host"),
		get("os-hypervisors/v2.88/hypervisors-with-servers-resp.json", "/os-hypervisors?with_servers=1"),
		get("os-hypervisors/v2.88/hypervisors-show-with-servers-resp.json", "/os-hypervisors/{hypervisor}?with_servers=1"),
		send("os-services/service-disable-put-resp.json", "PUT", "/os-services/disable", 200, M{"host": "host1", "binary": "nova-compute"}),
		send("os-services/v2.11/service-disable-put-resp.json", "PUT", "/os-services/disable", 200, M{"host": "host1", "binary": "nova-compute"}),
		send("os-services/v2.11/service-disable-log-put-resp.json", "PUT", "/os-services/disable-log-reason", 200, M{"host": "host1", "binary": "nova-compute", "disabled_reason": "x"}),
		send("os-services/v2.11/service-enable-put-resp.json", "PUT", "/os-services/enable", 200, M{"host": "host1", "binary": "nova-compute"}),
		send("os-services/v2.53/service-disable-put-resp.json", "PUT", "/os-services/{service}", 200, M{"status": "disabled"}),
		send("os-services/v2.53/service-enable-put-resp.json", "PUT", "/os-services/{service}", 200, M{"status": "enabled"}),
		send("os-services/v2.53/service-force-down-put-resp.json", "PUT", "/os-services/{service}", 200, M{"forced_down": true}),
	}
	return allAsAdmin(list)
}

func moreQuotas() []sampleTest {
	const path = "/os-quota-sets/{project}"
	var list []sampleTest
	for _, v := range []string{"", "v2.36/", "v2.57/"} {
		body := M{"quota_set": M{"cores": 45, "force": true}}
		list = append(list,
			get("os-quota-sets/"+v+"quotas-show-detail-get-resp.json", path+"/detail"),
			get("os-quota-sets/"+v+"user-quotas-show-get-resp.json", path+"?user_id=u"),
			send("os-quota-sets/"+v+"quotas-update-force-post-resp.json", "PUT", path, 200, body),
		)
	}
	list = append(list,
		get("os-quota-sets/quotas-show-defaults-get-resp.json", path+"/defaults"),
		get("os-quota-sets/v2.36/quotas-show-defaults-get-resp.json", path+"/defaults"),
		send("os-quota-sets/quotas-update-post-resp.json", "PUT", path, 200, M{"quota_set": M{"cores": 45}}),
	)
	for _, v := range []string{"", "v2.50/"} {
		list = append(list,
			get("os-quota-class-sets/"+v+"quota-classes-show-get-resp.json", "/os-quota-class-sets/default"),
			send("os-quota-class-sets/"+v+"quota-classes-update-post-resp.json", "PUT", "/os-quota-class-sets/default", 200, M{"quota_class_set": M{"cores": 50}}))
	}
	return allAsAdmin(list)
}

func moreOthers() []sampleTest {
	list := []sampleTest{
		get("os-server-groups/server-groups-list-resp.json", "/os-server-groups"),
		get("os-server-groups/v2.13/server-groups-get-resp.json", "/os-server-groups/{group}"),
		get("os-server-groups/v2.64/server-groups-list-resp.json", "/os-server-groups"),
		send("os-server-groups/server-groups-post-resp.json", "POST", "/os-server-groups", 200, M{"server_group": M{"name": "x", "policies": []string{"affinity"}}}),
		send("os-server-groups/v2.13/server-groups-post-resp.json", "POST", "/os-server-groups", 200, M{"server_group": M{"name": "x", "policies": []string{"affinity"}}}),
		get("os-keypairs/v2.2/keypairs-list-resp.json", "/os-keypairs"),
		get("os-keypairs/v2.10/keypairs-get-resp.json", "/os-keypairs/key"),
		send("os-keypairs/v2.2/keypairs-post-resp.json", "POST", "/os-keypairs", 201, M{"keypair": M{"name": "k3", "type": "ssh"}}),
		send("os-keypairs/v2.35/keypairs-post-resp.json", "POST", "/os-keypairs", 201, M{"keypair": M{"name": "k4", "type": "ssh"}}),
		asAdmin(get("flavor-extra-specs/flavor-extra-specs-get-resp.json", "/flavors/{flavor}/os-extra_specs/hw:numa_nodes")),
		asAdmin(send("flavor-extra-specs/flavor-extra-specs-create-resp.json", "POST", "/flavors/{flavor}/os-extra_specs", 200, M{"extra_specs": M{"hw:cpu_policy": "shared", "hw:numa_nodes": "1"}})),
		asAdmin(send("flavor-extra-specs/flavor-extra-specs-update-resp.json", "PUT", "/flavors/{flavor}/os-extra_specs/hw:numa_nodes", 200, M{"hw:numa_nodes": "1"})),
		asAdmin(send("flavor-access/flavor-access-add-tenant-resp.json", "POST", "/flavors/{private}/action", 200, M{"addTenantAccess": M{"tenant": "another"}})),
		asAdmin(send("flavor-access/flavor-access-remove-tenant-resp.json", "POST", "/flavors/{private}/action", 200, M{"removeTenantAccess": M{"tenant": "another"}})),
		asAdmin(send("flavor-manage/v2.55/flavor-update-resp.json", "PUT", "/flavors/{flavor}", 200, M{"flavor": M{"description": "updated"}})),
		asAdmin(send("flavor-manage/v2.61/flavor-create-post-resp.json", "POST", "/flavors", 200, M{"flavor": M{"name": "t3", "ram": 1024, "vcpus": 2, "disk": 10, "id": "12", "description": "d"}})),
		asAdmin(send("flavor-manage/v2.75/flavor-create-post-resp.json", "POST", "/flavors", 200, M{"flavor": M{"name": "t4", "ram": 1024, "vcpus": 2, "disk": 10, "id": "13", "description": "d"}})),
		asAdmin(send("flavor-manage/v2.75/flavor-update-resp.json", "PUT", "/flavors/{flavor}", 200, M{"flavor": M{"description": "updated"}})),
		get("extension-info/extensions-list-resp.json", "/extensions"),
	}
	for _, one := range []struct{ name, path string }{{"get", ""}, {"get-detail", "?detailed=1"}, {"get-specific", "/{project}"}} {
		list = append(list, asAdmin(but("_links", get("os-simple-tenant-usage/v2.40/simple-tenant-usage-"+one.name+".json", "/os-simple-tenant-usage"+one.path))))
	}
	return list
}

func allAsAdmin(list []sampleTest) []sampleTest {
	for i := range list {
		list[i].admin = true
	}
	return list
}
