package topology

import "maps"

// key is what the file may say under one key: the schema, the checks of single
// values and the handbook come from this table.
type key struct {
	doc      string
	required bool
	words    []string // the only values, if not nil
	min, max int      // bounds of a number, if max is not 0
	pattern  string   // of a text, with its shape in words
	shape    string
}

const (
	labelPattern = `^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`
	labelShape   = "use small letters, digits and dashes, a letter first, at most 63"
)

// Roles are the roles that a server can have.
func Roles() []string {
	return []string{RoleControl, RoleNetwork, RoleCompute, RoleBlockStorage, RoleObjectProxy, RoleObjectStorage, RoleLoadBalancer, RoleAdmin}
}

// keys is the table. A key of a list's element or a map's value comes after the
// list's own name; the names of a map are "*".
func keys() map[string]key {
	out := map[string]key{}
	for _, part := range []map[string]key{clusterKeys(), networkKeys(), serverKeys(), engineKeys()} {
		maps.Copy(out, part)
	}
	return out
}

func clusterKeys() map[string]key {
	return map[string]key{
		"name": {doc: "the cluster's name: of its directory, its lab and its engines", required: true,
			pattern: `^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$`, shape: "use small letters, digits and dashes, a letter first, at most 32"},
		"domain": {doc: "DNS suffix of the servers' names", required: true,
			pattern: `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`, shape: "write a domain in small letters, cloud.example.org"},
		"region": {doc: "the region's name in the catalog", pattern: `^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$`,
			shape: "use letters, digits, dashes, dots and underscores"},
		"allow_colocation": {doc: "permits compute, and load balancers, on control servers (a hyperconverged cluster)"},
		"vip_manager":      {doc: "the program that moves the virtual addresses", words: []string{Keepalived, Pacemaker}},
		"ssh":              {doc: "how the servers are reached, at their management addresses"},
		"ssh.user": {doc: "the user; without root's rights it needs sudo without a password", pattern: `^[a-z_][a-z0-9_-]{0,31}$`,
			shape: "write a user's name"},
		"ssh.port":                     {doc: "the port", min: 1, max: 65535},
		"ssh.key":                      {doc: "the private key's file; without it the lab's key, or the agent's and the user's default keys"},
		"compute":                      {doc: "how servers run on the compute servers"},
		"compute.driver":               {doc: "qemu, or fake for servers that do not run", words: []string{"qemu", "fake"}},
		"compute.accel":                {doc: "auto takes KVM where a guest was seen to run under it", words: []string{"auto", "kvm", "tcg"}},
		"compute.cpu_allocation_ratio": {doc: "how often a core is promised", min: 1, max: 100},
		"compute.ram_allocation_ratio": {doc: "how often memory is promised", min: 1, max: 100},
		"alarms":                       {doc: "whom to tell of alarms"},
		"alarms.webhooks": {doc: "URLs that each alarm is posted to, raised and cleared, in Alertmanager's format",
			pattern: `^https?://[^\s"']+$`, shape: "write a URL, https://alarms.example.org/hook"},
		"lab":             {doc: "limits of a server in a lab"},
		"lab.memory_mb":   {doc: "memory in MiB", min: 100, max: 1 << 20},
		"lab.cpu_percent": {doc: "processor time in percent of one core", min: 5, max: 6400},
	}
}

func networkKeys() map[string]key {
	return map[string]key{
		"networks":        {doc: "the classes of traffic, each with a segment of its own", required: true, words: networkOrder[:]},
		"networks.*":      {doc: "one class of traffic"},
		"networks.*.cidr": {doc: "its addresses, a /24 or larger; a server's last octet is its host number", required: true},
		"networks.*.vlan": {doc: "its VLAN on the switches, told in drawings", min: 1, max: 4094},
		"networks.*.device": {doc: "the interface on a server: a bond with one leg to each switch, or a port when there is one switch",
			required: true, pattern: `^[a-z][a-z0-9_.-]{0,12}$`, shape: "write an interface's name, at most 13 letters, so that its legs have names"},
		"networks.*.switches": {doc: "the switches that carry it, one or a pair", required: true},
		"networks.*.gateway":  {doc: "the way out of it; needed in external"},
		"networks.*.floating": {doc: "external only: the addresses for floating IPs and routers, first-last",
			pattern: `^[0-9.]+-[0-9.]+$`, shape: "write the first and the last address, 203.0.113.128-203.0.113.250"},
		"switches":       {doc: "the switches", required: true},
		"switches.name":  {doc: "its name", required: true, pattern: labelPattern, shape: labelShape},
		"switches.rack":  {doc: "the rack it is in"},
		"switches.peer":  {doc: "the other switch of a pair, linked with it; both name each other"},
		"switches.model": {doc: "its model, told in drawings"},
		"switches.host":  {doc: "its host number in the out-of-band network", min: 2, max: 254},
		"vips":           {doc: "the virtual addresses, each held by one load balancer at a time", required: true},
		"vips.name": {doc: "api for everything inside and out, object for the object store, public for clients on the external network",
			required: true, words: []string{"api", "object", "public"}},
		"vips.network": {doc: "the network it is in: management for api, external for public", required: true,
			words: []string{Management, External}},
		"vips.address": {doc: "the address", required: true},
		"vips.prefer":  {doc: "the load balancer that holds it at the beginning; without it the VIPs are spread"},
	}
}

func serverKeys() map[string]key {
	return map[string]key{
		"hardware":                {doc: "server models, by name"},
		"hardware.*":              {doc: "one model"},
		"hardware.*.cores":        {doc: "processor cores", min: 1, max: 4096},
		"hardware.*.memory_gb":    {doc: "memory in GB", min: 1, max: 1 << 20},
		"hardware.*.disks":        {doc: "disks, equal ones with one use together"},
		"hardware.*.disks.count":  {doc: "how many", required: true, min: 1, max: 1000},
		"hardware.*.disks.gb":     {doc: "size of one in GB", required: true, min: 1, max: 1 << 20},
		"hardware.*.disks.kind":   {doc: "kind of disk", words: []string{"ssd", "sas"}},
		"hardware.*.disks.raid":   {doc: "how they are joined; nothing means each by itself", words: []string{"", "raid1", "raid6"}},
		"hardware.*.disks.use":    {doc: "what is on them", required: true, words: []string{"system", "data", "ephemeral", "volumes", "objects"}},
		"hardware.*.nics":         {doc: "network cards, in words"},
		"servers":                 {doc: "the servers", required: true},
		"servers.name":            {doc: "its name, also its host name", required: true, pattern: labelPattern, shape: labelShape},
		"servers.host":            {doc: "last octet of its address in every network; 1 is the operator's", required: true, min: 2, max: 254},
		"servers.rack":            {doc: "the rack it is in"},
		"servers.roles":           {doc: "what it does", required: true, words: Roles()},
		"servers.hardware":        {doc: "its model, a name under hardware"},
		"servers.lab":             {doc: "its limits in a lab, before those of the cluster"},
		"servers.lab.memory_mb":   {doc: "memory in MiB", min: 100, max: 1 << 20},
		"servers.lab.cpu_percent": {doc: "processor time in percent of one core", min: 5, max: 6400},
	}
}

func engineKeys() map[string]key {
	return map[string]key{
		"engines":                        {doc: "sizes of the programs around the services"},
		"engines.mariadb":                {doc: "the database"},
		"engines.mariadb.buffer_pool_mb": {doc: "InnoDB's buffer pool in MiB", min: 16, max: 1 << 20},
		"engines.mariadb.gcache_mb":      {doc: "Galera's cache of write sets in MiB: how long a member may be away and catch up without a full copy", min: 16, max: 1 << 20},
		"engines.mariadb.log_file_mb":    {doc: "InnoDB's redo log in MiB", min: 8, max: 1 << 19},
		"engines.rabbitmq":               {doc: "the message broker"},
		"engines.rabbitmq.memory_mb":     {doc: "memory in MiB that it takes for all there is", min: 128, max: 1 << 20},
		"engines.memcached":              {doc: "the cache"},
		"engines.memcached.memory_mb":    {doc: "memory in MiB", min: 8, max: 1 << 20},
		"engines.vrrp":                   {doc: "how load balancers watch each other"},
		"engines.vrrp.advert_ms":         {doc: "time between two signs of life in ms; three missed ones move the VIPs", min: 50, max: 990},
	}
}
