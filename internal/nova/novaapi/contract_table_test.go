package novaapi_test

// Differences that are right: the samples were recorded for administrators,
// some of servers with volumes or without a security group.
const (
	adminOnly = `OS-EXT-SRV-ATTR|host_status|\.fault`
	srvSkip   = adminOnly + `|volumes_attached|_links is missing|tenant_id`
)

func get(file, path string) sampleTest {
	return sampleTest{file: file, method: "GET", path: path, status: 200}
}

func asAdmin(s sampleTest) sampleTest { s.admin = true; return s }

func but(skip string, s sampleTest) sampleTest { s.skip = skip; return s }

func send(file, method, path string, status int, body any) sampleTest {
	return sampleTest{file: file, method: method, path: path, status: status, body: body}
}

func contract() []sampleTest {
	var list []sampleTest
	for _, part := range [][]sampleTest{serverSamples(), actionSamples(), flavorSamples(), adminSamples(), otherSamples(), moreSamples()} {
		list = append(list, part...)
	}
	return list
}

func serverSamples() []sampleTest {
	var list []sampleTest
	for _, v := range []string{"", "v2.3/", "v2.9/", "v2.16/", "v2.19/", "v2.47/", "v2.52/", "v2.63/", "v2.71/", "v2.73/", "v2.90/"} {
		get := get("servers/"+v+"server-get-resp.json", "/servers/{server}")
		// Those of 2.16 and 2.3 are as an administrator sees them.
		get.admin = v == "" || v == "v2.3/" || v == "v2.16/" || v == "v2.9/" || v == "v2.19/" || v == "v2.63/"
		list = append(list, but(srvSkip, get))
	}
	for _, v := range []string{"", "v2.3/", "v2.9/", "v2.16/", "v2.19/", "v2.47/", "v2.52/", "v2.63/", "v2.73/", "v2.90/"} {
		list = append(list, but(srvSkip, asAdmin(get("servers/"+v+"servers-details-resp.json", "/servers/detail?all_tenants=1&limit=1"))))
	}
	create := M{"server": M{"name": "new", "imageRef": "{image}", "flavorRef": "{flavor}", "networks": "none"}}
	old := M{"server": M{"name": "new", "imageRef": "{image}", "flavorRef": "{flavor}", "accessIPv4": "1.2.3.4", "accessIPv6": "80fe::",
		"OS-DCF:diskConfig": "AUTO", "metadata": M{"My Server Name": "Apache1"}, "security_groups": []M{{"name": "default"}},
		"user_data":   "IyEvYmluL2Jhc2gKL2Jpbi9zdQplY2hvICJJIGFtIGluIHlvdSEiCg==",
		"personality": []M{{"path": "/etc/banner.txt", "contents": "ICAgICAgDQoiQSBjbG91 ZA=="}}}}
	list = append(list,
		but("_links", get("servers/servers-list-resp.json", "/servers?limit=1")),
		send("servers/server-create-resp.json", "POST", "/servers", 202, old),
		send("servers/v2.37/server-create-resp.json", "POST", "/servers", 202, create),
		send("servers/v2.63/server-create-resp.json", "POST", "/servers", 202, create),
		send("servers/v2.90/server-create-resp.json", "POST", "/servers", 202, create),
		but(srvSkip, send("servers/server-update-resp.json", "PUT", "/servers/{server}", 200, M{"server": M{"name": "renamed", "accessIPv4": "4.3.2.1"}})),
		but(srvSkip, send("servers/v2.19/server-put-resp.json", "PUT", "/servers/{server}", 200, M{"server": M{"name": "renamed", "description": "d"}})),
		but(srvSkip, send("servers/v2.75/server-update-resp.json", "PUT", "/servers/{server}", 200, M{"server": M{"name": "renamed"}})),
		but(srvSkip, send("servers/v2.90/server-update-resp.json", "PUT", "/servers/{server}", 200, M{"server": M{"name": "renamed", "hostname": "newhost"}})),
		get("server-metadata/server-metadata-all-resp.json", "/servers/{server}/metadata"),
		get("server-ips/server-ips-resp.json", "/servers/{server}/ips"),
		but("private", get("server-ips/server-ips-network-resp.json", "/servers/{server}/ips/private")),
		get("os-server-tags/v2.26/server-tags-index-resp.json", "/servers/{server}/tags"),
		send("os-server-tags/v2.26/server-tags-put-all-resp.json", "PUT", "/servers/{server}/tags", 200, M{"tags": []string{"tag1", "tag2"}}),
		get("os-attach-interfaces/attach-interfaces-list-resp.json", "/servers/{server}/os-interface"),
		get("os-attach-interfaces/attach-interfaces-show-resp.json", "/servers/{server}/os-interface/{port}"),
		get("os-attach-interfaces/v2.70/attach-interfaces-list-resp.json", "/servers/{server}/os-interface"),
		get("os-security-groups/server-security-groups-list-resp.json", "/servers/{server}/os-security-groups"),
	)
	return list
}

func actionSamples() []sampleTest {
	const act = "/servers/{server}/action"
	var list []sampleTest
	for _, v := range []string{"", "v2.21/", "v2.51/", "v2.58/", "v2.62/", "v2.66/", "v2.84/"} {
		list = append(list, but("links", get("os-instance-actions/"+v+"instance-actions-list-resp.json", "/servers/{server}/os-instance-actions")),
			asAdmin(get("os-instance-actions/"+v+"instance-action-get-resp.json", "/servers/{server}/os-instance-actions/{action}")))
		if v != "" && v != "v2.21/" {
			list = append(list, get("os-instance-actions/"+v+"instance-action-get-non-admin-resp.json", "/servers/{server}/os-instance-actions/{action}"))
		}
	}
	return append(list,
		send("os-console-output/console-output-post-resp.json", "POST", act, 200, M{"os-getConsoleOutput": M{"length": 50}}),
		send("os-remote-consoles/get-vnc-console-post-resp.json", "POST", act, 200, M{"os-getVNCConsole": M{"type": "novnc"}}),
		send("os-remote-consoles/v2.6/create-vnc-console-resp.json", "POST", "/servers/{server}/remote-consoles", 200, M{"remote_console": M{"protocol": "vnc", "type": "novnc"}}),
		send("servers/v2.45/server-action-create-image-resp.json", "POST", act, 202, M{"createImage": M{"name": "foo"}}),
		asAdmin(send("os-server-external-events/event-create-resp.json", "POST", "/os-server-external-events", 200,
			M{"events": []M{{"name": "network-changed", "tag": "foo", "status": "completed", "server_uuid": "{server}"}}})),
	)
}

func flavorSamples() []sampleTest {
	var list []sampleTest
	for _, v := range []string{"", "v2.55/", "v2.61/", "v2.75/"} {
		list = append(list, get("flavors/"+v+"flavor-get-resp.json", "/flavors/{flavor}"),
			but("_links", get("flavors/"+v+"flavors-detail-resp.json", "/flavors/detail")),
			but("_links", get("flavors/"+v+"flavors-list-resp.json", "/flavors")))
	}
	return append(list,
		get("flavor-extra-specs/flavor-extra-specs-list-resp.json", "/flavors/{flavor}/os-extra_specs"),
		asAdmin(get("flavor-access/flavor-access-list-resp.json", "/flavors/{private}/os-flavor-access")),
		asAdmin(send("flavor-manage/flavor-create-post-resp.json", "POST", "/flavors", 200, M{"flavor": M{"name": "t1", "ram": 1024, "vcpus": 2, "disk": 10, "id": "10", "rxtx_factor": 2.0}})),
		asAdmin(send("flavor-manage/v2.55/flavor-create-post-resp.json", "POST", "/flavors", 200, M{"flavor": M{"name": "t2", "ram": 1024, "vcpus": 2, "disk": 10, "id": "11", "description": "d"}})),
		asAdmin(send("flavor-manage/v2.61/flavor-update-resp.json", "PUT", "/flavors/{flavor}", 200, M{"flavor": M{"description": "updated"}})),
	)
}

func adminSamples() []sampleTest {
	var list []sampleTest
	for _, v := range []string{"", "v2.28/", "v2.53/", "v2.88/"} {
		list = append(list, but("_links|servers", get("os-hypervisors/"+v+"hypervisors-detail-resp.json", "/os-hypervisors/detail")),
			but("_links", get("os-hypervisors/"+v+"hypervisors-list-resp.json", "/os-hypervisors")))
	}
	list = append(list,
		get("os-hypervisors/v2.53/hypervisors-show-resp.json", "/os-hypervisors/{hypervisor}"),
		get("os-hypervisors/v2.53/hypervisors-show-with-servers-resp.json", "/os-hypervisors/{hypervisor}?with_servers=1"),
		get("os-hypervisors/v2.88/hypervisors-show-resp.json", "/os-hypervisors/{hypervisor}"),
		get("os-hypervisors/hypervisors-statistics-resp.json", "/os-hypervisors/statistics"),
		get("os-hypervisors/hypervisors-with-servers-resp.json", "/os-hypervisors/host1/servers"),
		get("os-hypervisors/hypervisors-search-resp.json", "/os-hypervisors/host/search"),
		get("os-services/services-list-get-resp.json", "/os-services"),
		get("os-services/v2.11/services-list-get-resp.json", "/os-services"),
		get("os-services/v2.53/services-list-get-resp.json", "/os-services"),
		send("os-services/v2.53/service-disable-log-put-resp.json", "PUT", "/os-services/{service}", 200, M{"status": "disabled", "disabled_reason": "maintenance"}),
		send("os-services/service-disable-log-put-resp.json", "PUT", "/os-services/disable-log-reason", 200, M{"host": "host1", "binary": "nova-compute", "disabled_reason": "test2"}),
		send("os-services/service-enable-put-resp.json", "PUT", "/os-services/enable", 200, M{"host": "host1", "binary": "nova-compute"}),
		send("os-services/v2.11/service-force-down-put-resp.json", "PUT", "/os-services/force-down", 200, M{"host": "host1", "binary": "nova-compute", "forced_down": false}),
		get("os-aggregates/aggregates-list-get-resp.json", "/os-aggregates"),
		get("os-aggregates/v2.41/aggregates-get-resp.json", "/os-aggregates/{aggregate}"),
		send("os-aggregates/aggregate-post-resp.json", "POST", "/os-aggregates", 200, M{"aggregate": M{"name": "n2", "availability_zone": "london"}}),
		send("os-aggregates/aggregates-metadata-post-resp.json", "POST", "/os-aggregates/{aggregate}/action", 200, M{"set_metadata": M{"metadata": M{"key": "value"}}}),
		get("os-availability-zone/availability-zone-detail-resp.json", "/os-availability-zone/detail"),
		get("os-quota-sets/quotas-show-detail-get-resp.json", "/os-quota-sets/{project}/detail"),
		send("os-quota-sets/v2.57/quotas-update-post-resp.json", "PUT", "/os-quota-sets/{project}", 200, M{"quota_set": M{"cores": 45}}),
		send("os-quota-class-sets/v2.57/quota-classes-update-post-resp.json", "PUT", "/os-quota-class-sets/default", 200, M{"quota_class_set": M{"cores": 50}}),
		get("os-quota-class-sets/v2.57/quota-classes-show-get-resp.json", "/os-quota-class-sets/default"),
		get("os-simple-tenant-usage/simple-tenant-usage-get.json", "/os-simple-tenant-usage"),
		get("os-simple-tenant-usage/simple-tenant-usage-get-detail.json", "/os-simple-tenant-usage?detailed=1"),
	)
	for i := range list {
		list[i].admin = true
	}
	return list
}

func otherSamples() []sampleTest {
	return []sampleTest{
		get("os-availability-zone/availability-zone-list-resp.json", "/os-availability-zone"),
		get("limits/limit-get-resp.json", "/limits"),
		get("limits/v2.36/limit-get-resp.json", "/limits"),
		get("limits/v2.39/limit-get-resp.json", "/limits"),
		get("limits/v2.57/limit-get-resp.json", "/limits"),
		get("os-quota-sets/quotas-show-get-resp.json", "/os-quota-sets/{project}"),
		get("os-quota-sets/v2.36/quotas-show-get-resp.json", "/os-quota-sets/{project}"),
		get("os-quota-sets/v2.57/quotas-show-defaults-get-resp.json", "/os-quota-sets/{project}/defaults"),
		get("os-simple-tenant-usage/simple-tenant-usage-get-specific.json", "/os-simple-tenant-usage/{project}"),
		get("os-keypairs/keypairs-list-resp.json", "/os-keypairs"),
		get("os-keypairs/keypairs-get-resp.json", "/os-keypairs/key"),
		get("os-keypairs/v2.2/keypairs-get-resp.json", "/os-keypairs/key"),
		get("os-keypairs/v2.10/keypairs-list-resp.json", "/os-keypairs"),
		but("_links", get("os-keypairs/v2.35/keypairs-list-resp.json", "/os-keypairs")),
		send("os-keypairs/keypairs-post-resp.json", "POST", "/os-keypairs", 200, M{"keypair": M{"name": "k1"}}),
		send("os-keypairs/v2.10/keypairs-post-resp.json", "POST", "/os-keypairs", 201, M{"keypair": M{"name": "k2", "type": "ssh"}}),
		get("os-server-groups/server-groups-get-resp.json", "/os-server-groups/{group}"),
		get("os-server-groups/v2.13/server-groups-list-resp.json", "/os-server-groups"),
		get("os-server-groups/v2.64/server-groups-get-resp.json", "/os-server-groups/{group}"),
		send("os-server-groups/v2.64/server-groups-post-resp.json", "POST", "/os-server-groups", 200, M{"server_group": M{"name": "x", "policy": "anti-affinity", "rules": M{"max_server_per_host": 3}}}),
		get("extension-info/extensions-get-resp.json", "/extensions/os-aggregates"),
		asAdmin(get("os-server-diagnostics/v2.48/server-diagnostics-get-resp.json", "/servers/{server}/diagnostics")),
		get("versions/v21-version-get-resp.json", ""),
	}
}
