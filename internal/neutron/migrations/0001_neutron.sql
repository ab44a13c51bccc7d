-- +goose Up
CREATE TABLE networks (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  project_id VARCHAR(64) NOT NULL,
  name VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  status VARCHAR(16) NOT NULL,
  admin_state_up BOOLEAN NOT NULL,
  external BOOLEAN NOT NULL,
  is_default BOOLEAN NOT NULL,
  mtu INTEGER NOT NULL,
  port_security_enabled BOOLEAN NOT NULL,
  vlan_transparent BOOLEAN NOT NULL,
  dns_domain VARCHAR(255) NOT NULL,
  network_type VARCHAR(16) NOT NULL,
  physical_network VARCHAR(64) NOT NULL,
  segmentation_id INTEGER NOT NULL,
  availability_zone_hints TEXT NOT NULL,
  subnet_ids TEXT NOT NULL,
  tags TEXT NOT NULL,
  revision_number BIGINT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  updated_at DATETIME(6) NOT NULL
);
CREATE INDEX networks_project_idx ON networks (project_id, id);
CREATE INDEX networks_name_idx ON networks (name, id);

-- A segment is given to one network at a time: the key is the promise.
CREATE TABLE segments (
  network_type VARCHAR(16) NOT NULL,
  physical_network VARCHAR(64) NOT NULL,
  segmentation_id INTEGER NOT NULL,
  network_id VARCHAR(36) NOT NULL,
  PRIMARY KEY (network_type, physical_network, segmentation_id)
);
CREATE INDEX segments_network_idx ON segments (network_id);

CREATE TABLE subnets (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  project_id VARCHAR(64) NOT NULL,
  network_id VARCHAR(36) NOT NULL,
  name VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  ip_version INTEGER NOT NULL,
  cidr VARCHAR(64) NOT NULL,
  gateway_ip VARCHAR(45) NULL,
  enable_dhcp BOOLEAN NOT NULL,
  ipv6_ra_mode VARCHAR(24) NULL,
  ipv6_address_mode VARCHAR(24) NULL,
  subnetpool_id VARCHAR(36) NULL,
  dns_publish_fixed_ip BOOLEAN NOT NULL,
  allocation_pools TEXT NOT NULL,
  dns_nameservers TEXT NOT NULL,
  host_routes TEXT NOT NULL,
  service_types TEXT NOT NULL,
  tags TEXT NOT NULL,
  revision_number BIGINT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  updated_at DATETIME(6) NOT NULL,
  CONSTRAINT subnets_network_fk FOREIGN KEY (network_id) REFERENCES networks (id)
);
CREATE INDEX subnets_project_idx ON subnets (project_id, id);
CREATE INDEX subnets_network_idx ON subnets (network_id, id);

CREATE TABLE ports (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  project_id VARCHAR(64) NOT NULL,
  network_id VARCHAR(36) NOT NULL,
  name VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  mac_address VARCHAR(32) NOT NULL,
  admin_state_up BOOLEAN NOT NULL,
  status VARCHAR(16) NOT NULL,
  device_id VARCHAR(255) NOT NULL,
  device_owner VARCHAR(255) NOT NULL,
  port_security_enabled BOOLEAN NOT NULL,
  propagate_uplink_status BOOLEAN NOT NULL,
  trusted BOOLEAN NULL,
  dns_name VARCHAR(255) NOT NULL,
  dns_domain VARCHAR(255) NOT NULL,
  binding_host VARCHAR(255) NOT NULL,
  vif_type VARCHAR(64) NOT NULL,
  vnic_type VARCHAR(64) NOT NULL,
  vif_details TEXT NOT NULL,
  binding_profile TEXT NOT NULL,
  fixed_ips TEXT NOT NULL,
  security_groups TEXT NOT NULL,
  allowed_address_pairs TEXT NOT NULL,
  extra_dhcp_opts TEXT NOT NULL,
  tags TEXT NOT NULL,
  revision_number BIGINT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  updated_at DATETIME(6) NOT NULL,
  CONSTRAINT ports_network_fk FOREIGN KEY (network_id) REFERENCES networks (id)
);
CREATE UNIQUE INDEX ports_network_mac_uq ON ports (network_id, mac_address);
CREATE INDEX ports_project_idx ON ports (project_id, id);
CREATE INDEX ports_device_idx ON ports (device_id, id);
CREATE INDEX ports_host_idx ON ports (binding_host, id);

-- An address of a subnet is held by one port: the primary key is what makes
-- two ports with one address impossible, whatever the code around it does.
CREATE TABLE ip_allocations (
  subnet_id VARCHAR(36) NOT NULL,
  ip_address VARCHAR(45) NOT NULL,
  port_id VARCHAR(36) NOT NULL,
  network_id VARCHAR(36) NOT NULL,
  PRIMARY KEY (subnet_id, ip_address),
  CONSTRAINT ip_allocations_subnet_fk FOREIGN KEY (subnet_id) REFERENCES subnets (id)
);
CREATE INDEX ip_allocations_port_idx ON ip_allocations (port_id);
CREATE INDEX ip_allocations_network_idx ON ip_allocations (network_id, ip_address);

CREATE TABLE routers (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  project_id VARCHAR(64) NOT NULL,
  name VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  status VARCHAR(16) NOT NULL,
  admin_state_up BOOLEAN NOT NULL,
  distributed BOOLEAN NOT NULL,
  ha BOOLEAN NOT NULL,
  gw_port_id VARCHAR(36) NULL,
  gw_network_id VARCHAR(36) NULL,
  enable_snat BOOLEAN NOT NULL,
  external_fixed_ips TEXT NOT NULL,
  routes TEXT NOT NULL,
  availability_zone_hints TEXT NOT NULL,
  tags TEXT NOT NULL,
  revision_number BIGINT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  updated_at DATETIME(6) NOT NULL
);
CREATE INDEX routers_project_idx ON routers (project_id, id);
CREATE INDEX routers_gw_network_idx ON routers (gw_network_id);

-- A router has at most one interface on a subnet; a port serves one router.
CREATE TABLE router_ports (
  router_id VARCHAR(36) NOT NULL,
  subnet_id VARCHAR(36) NOT NULL,
  port_id VARCHAR(36) NOT NULL,
  network_id VARCHAR(36) NOT NULL,
  PRIMARY KEY (router_id, subnet_id),
  CONSTRAINT router_ports_router_fk FOREIGN KEY (router_id) REFERENCES routers (id)
);
CREATE INDEX router_ports_port_idx ON router_ports (port_id);
CREATE INDEX router_ports_subnet_idx ON router_ports (subnet_id);

CREATE TABLE floatingips (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  project_id VARCHAR(64) NOT NULL,
  description VARCHAR(255) NOT NULL,
  floating_network_id VARCHAR(36) NOT NULL,
  floating_ip_address VARCHAR(45) NOT NULL,
  floating_port_id VARCHAR(36) NOT NULL,
  port_id VARCHAR(36) NULL,
  fixed_ip_address VARCHAR(45) NULL,
  router_id VARCHAR(36) NULL,
  status VARCHAR(16) NOT NULL,
  dns_name VARCHAR(255) NOT NULL,
  dns_domain VARCHAR(255) NOT NULL,
  tags TEXT NOT NULL,
  revision_number BIGINT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  updated_at DATETIME(6) NOT NULL
);
CREATE INDEX floatingips_project_idx ON floatingips (project_id, id);
CREATE INDEX floatingips_router_idx ON floatingips (router_id);
CREATE UNIQUE INDEX floatingips_address_uq ON floatingips (floating_network_id, floating_ip_address);
-- One floating address per fixed address and external network; NULLs repeat.
CREATE UNIQUE INDEX floatingips_fixed_uq ON floatingips (port_id, fixed_ip_address, floating_network_id);

CREATE TABLE security_groups (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  project_id VARCHAR(64) NOT NULL,
  name VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  stateful BOOLEAN NOT NULL,
  is_default BOOLEAN NOT NULL,
  tags TEXT NOT NULL,
  revision_number BIGINT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  updated_at DATETIME(6) NOT NULL
);
CREATE INDEX security_groups_project_idx ON security_groups (project_id, id);

CREATE TABLE port_security_groups (
  port_id VARCHAR(36) NOT NULL,
  security_group_id VARCHAR(36) NOT NULL,
  PRIMARY KEY (port_id, security_group_id),
  CONSTRAINT port_security_groups_group_fk FOREIGN KEY (security_group_id) REFERENCES security_groups (id)
);
CREATE INDEX port_security_groups_group_idx ON port_security_groups (security_group_id);

-- The primary key settles the race of two first requests of a project.
CREATE TABLE default_security_groups (
  project_id VARCHAR(64) NOT NULL PRIMARY KEY,
  security_group_id VARCHAR(36) NOT NULL
);

CREATE TABLE security_group_rules (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  project_id VARCHAR(64) NOT NULL,
  security_group_id VARCHAR(36) NOT NULL,
  description VARCHAR(255) NOT NULL,
  direction VARCHAR(8) NOT NULL,
  ethertype VARCHAR(8) NOT NULL,
  protocol VARCHAR(32) NULL,
  port_range_min INTEGER NULL,
  port_range_max INTEGER NULL,
  remote_ip_prefix VARCHAR(64) NULL,
  remote_group_id VARCHAR(36) NULL,
  fingerprint VARCHAR(255) NOT NULL,
  tags TEXT NOT NULL,
  revision_number BIGINT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  updated_at DATETIME(6) NOT NULL,
  CONSTRAINT security_group_rules_group_fk FOREIGN KEY (security_group_id) REFERENCES security_groups (id)
);
CREATE UNIQUE INDEX security_group_rules_fp_uq ON security_group_rules (security_group_id, fingerprint);
CREATE INDEX security_group_rules_project_idx ON security_group_rules (project_id, id);
CREATE INDEX security_group_rules_remote_idx ON security_group_rules (remote_group_id);

CREATE TABLE rbac_policies (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  project_id VARCHAR(64) NOT NULL,
  object_type VARCHAR(32) NOT NULL,
  object_id VARCHAR(36) NOT NULL,
  action VARCHAR(32) NOT NULL,
  target_project VARCHAR(64) NOT NULL
);
CREATE UNIQUE INDEX rbac_policies_object_uq ON rbac_policies (object_id, target_project, action);
CREATE INDEX rbac_policies_project_idx ON rbac_policies (project_id, id);

CREATE TABLE quotas (
  project_id VARCHAR(64) NOT NULL,
  resource VARCHAR(64) NOT NULL,
  hard_limit BIGINT NOT NULL,
  PRIMARY KEY (project_id, resource)
);
CREATE TABLE quota_usages (
  project_id VARCHAR(64) NOT NULL,
  resource VARCHAR(64) NOT NULL,
  used BIGINT NOT NULL,
  PRIMARY KEY (project_id, resource)
);

CREATE TABLE agents (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  agent_type VARCHAR(64) NOT NULL,
  binary_name VARCHAR(64) NOT NULL,
  topic VARCHAR(64) NOT NULL,
  host VARCHAR(255) NOT NULL,
  availability_zone VARCHAR(64) NOT NULL,
  admin_state_up BOOLEAN NOT NULL,
  description VARCHAR(255) NOT NULL,
  configurations TEXT NOT NULL,
  tunnel_ip VARCHAR(45) NOT NULL,
  bridge_mappings TEXT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  started_at DATETIME(6) NOT NULL,
  heartbeat_timestamp DATETIME(6) NOT NULL
);
CREATE UNIQUE INDEX agents_type_host_uq ON agents (agent_type, host);

CREATE TABLE router_agents (
  router_id VARCHAR(36) NOT NULL PRIMARY KEY,
  agent_id VARCHAR(36) NOT NULL,
  CONSTRAINT router_agents_router_fk FOREIGN KEY (router_id) REFERENCES routers (id),
  CONSTRAINT router_agents_agent_fk FOREIGN KEY (agent_id) REFERENCES agents (id)
);
CREATE INDEX router_agents_agent_idx ON router_agents (agent_id);

CREATE TABLE network_agents (
  network_id VARCHAR(36) NOT NULL,
  agent_id VARCHAR(36) NOT NULL,
  PRIMARY KEY (network_id, agent_id),
  CONSTRAINT network_agents_network_fk FOREIGN KEY (network_id) REFERENCES networks (id),
  CONSTRAINT network_agents_agent_fk FOREIGN KEY (agent_id) REFERENCES agents (id)
);
CREATE INDEX network_agents_agent_idx ON network_agents (agent_id);

-- Compute servers to be told that a port is plugged or unplugged; the row goes
-- when Nova has taken the event.
CREATE TABLE nova_events (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  name VARCHAR(64) NOT NULL,
  server_id VARCHAR(36) NOT NULL,
  port_id VARCHAR(36) NOT NULL,
  status VARCHAR(16) NOT NULL,
  attempts INTEGER NOT NULL,
  due_at DATETIME(6) NOT NULL,
  created_at DATETIME(6) NOT NULL
);
CREATE INDEX nova_events_due_idx ON nova_events (due_at);

-- One number that grows with every change an agent can see; raised last in the
-- transaction, so that its order is the order of commits.
CREATE TABLE state_revision (
  id INTEGER NOT NULL PRIMARY KEY,
  revision BIGINT NOT NULL
);
INSERT INTO state_revision (id, revision) VALUES (1, 1);

-- +goose Down
DROP TABLE state_revision;
DROP TABLE nova_events;
DROP TABLE network_agents;
DROP TABLE router_agents;
DROP TABLE agents;
DROP TABLE quota_usages;
DROP TABLE quotas;
DROP TABLE rbac_policies;
DROP TABLE security_group_rules;
DROP TABLE default_security_groups;
DROP TABLE port_security_groups;
DROP TABLE security_groups;
DROP TABLE floatingips;
DROP TABLE router_ports;
DROP TABLE routers;
DROP TABLE ip_allocations;
DROP TABLE ports;
DROP TABLE subnets;
DROP TABLE segments;
DROP TABLE networks;
