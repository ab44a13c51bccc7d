-- +goose Up
CREATE TABLE sequences (
    name  VARCHAR(64) NOT NULL PRIMARY KEY,
    value BIGINT      NOT NULL
);
-- Every sequence is there from the start: two transactions that both made the
-- first row of one would look like a name taken twice.
INSERT INTO sequences (name, value) VALUES
    ('aggregates', 0), ('flavors', 0), ('hypervisors', 0), ('keypairs', 0), ('services', 0);

CREATE TABLE flavors (
    flavorid     VARCHAR(255) NOT NULL PRIMARY KEY,
    seq          BIGINT       NOT NULL,
    name         VARCHAR(255) NOT NULL,
    description  TEXT         NULL,
    vcpus        BIGINT       NOT NULL,
    memory_mb    BIGINT       NOT NULL,
    root_gb      BIGINT       NOT NULL,
    ephemeral_gb BIGINT       NOT NULL,
    swap_mb      BIGINT       NOT NULL,
    rxtx_factor  DOUBLE PRECISION NOT NULL,
    is_public    BOOLEAN      NOT NULL,
    disabled     BOOLEAN      NOT NULL,
    extra_specs  MEDIUMTEXT         NOT NULL,
    version      BIGINT       NOT NULL,
    created_at   DATETIME(6)  NOT NULL,
    updated_at   DATETIME(6)  NULL
);
CREATE UNIQUE INDEX flavors_name ON flavors (name);

CREATE TABLE flavor_access (
    flavorid   VARCHAR(255) NOT NULL,
    project_id VARCHAR(64)  NOT NULL,
    PRIMARY KEY (flavorid, project_id)
);

CREATE TABLE keypairs (
    user_id     VARCHAR(64)  NOT NULL,
    name        VARCHAR(255) NOT NULL,
    seq         BIGINT       NOT NULL,
    type        VARCHAR(16)  NOT NULL,
    fingerprint VARCHAR(255) NOT NULL,
    public_key  TEXT         NOT NULL,
    created_at  DATETIME(6)  NOT NULL,
    PRIMARY KEY (user_id, name)
);

CREATE TABLE servers (
    id                 VARCHAR(36)  NOT NULL PRIMARY KEY,
    cell               VARCHAR(36)  NOT NULL,
    project_id         VARCHAR(64)  NOT NULL,
    user_id            VARCHAR(64)  NOT NULL,
    name               VARCHAR(255) NOT NULL,
    hostname           VARCHAR(255) NOT NULL,
    description        VARCHAR(255) NULL,
    reservation_id     VARCHAR(36)  NOT NULL,
    launch_index       BIGINT       NOT NULL,
    vm_state           VARCHAR(32)  NOT NULL,
    task_state         VARCHAR(64)  NULL,
    power_state        BIGINT       NOT NULL,
    progress           BIGINT       NOT NULL,
    host               VARCHAR(255) NULL,
    node               VARCHAR(255) NULL,
    az                 VARCHAR(255) NULL,
    image_id           VARCHAR(36)  NULL,
    flavor_id          VARCHAR(255) NOT NULL,
    group_id           VARCHAR(36)  NULL,
    key_name           VARCHAR(255) NULL,
    key_data           TEXT         NULL,
    access_ip_v4       VARCHAR(45)  NULL,
    access_ip_v6       VARCHAR(45)  NULL,
    config_drive       BOOLEAN      NOT NULL,
    disk_config        VARCHAR(16)  NOT NULL,
    root_device        VARCHAR(64)  NOT NULL,
    locked_by          VARCHAR(16)  NULL,
    locked_reason      VARCHAR(255) NULL,
    flavor             TEXT         NOT NULL,
    metadata           MEDIUMTEXT         NOT NULL,
    tags               TEXT         NOT NULL,
    security_groups    TEXT         NOT NULL,
    info_cache         TEXT         NOT NULL,
    addresses          TEXT         NOT NULL,
    spec               MEDIUMTEXT         NOT NULL,
    fault              MEDIUMTEXT         NULL,
    user_data          TEXT         NULL,
    op_id              VARCHAR(36)  NULL,
    action_id          VARCHAR(36)  NULL,
    outcome            TEXT         NULL,
    cleanup            BOOLEAN      NOT NULL,
    created_at         DATETIME(6)  NOT NULL,
    updated_at         DATETIME(6)  NOT NULL,
    launched_at        DATETIME(6)  NULL,
    terminated_at      DATETIME(6)  NULL,
    deleted_at         DATETIME(6)  NULL
);
CREATE INDEX servers_project ON servers (project_id, deleted_at, created_at, id);
CREATE INDEX servers_created ON servers (deleted_at, created_at, id);
CREATE INDEX servers_host ON servers (host, deleted_at);
CREATE INDEX servers_cleanup ON servers (cleanup, host);
CREATE INDEX servers_op ON servers (op_id);
CREATE INDEX servers_group ON servers (group_id, deleted_at);
CREATE INDEX servers_reservation ON servers (reservation_id);

CREATE TABLE server_tags (
    server_id VARCHAR(36) NOT NULL,
    tag       VARCHAR(60) NOT NULL,
    PRIMARY KEY (server_id, tag)
);
CREATE INDEX server_tags_tag ON server_tags (tag, server_id);

CREATE TABLE server_actions (
    id         VARCHAR(36)  NOT NULL PRIMARY KEY,
    server_id  VARCHAR(36)  NOT NULL,
    action     VARCHAR(64)  NOT NULL,
    request_id VARCHAR(64)  NOT NULL,
    project_id VARCHAR(64)  NOT NULL,
    user_id    VARCHAR(64)  NOT NULL,
    message    VARCHAR(255) NULL,
    start_time DATETIME(6)  NOT NULL,
    updated_at DATETIME(6)  NOT NULL
);
CREATE INDEX server_actions_server ON server_actions (server_id, start_time, id);

CREATE TABLE server_action_events (
    id          VARCHAR(36)  NOT NULL PRIMARY KEY,
    action_id   VARCHAR(36)  NOT NULL,
    event       VARCHAR(255) NOT NULL,
    host        VARCHAR(255) NULL,
    result      VARCHAR(32)  NULL,
    details     TEXT         NULL,
    start_time  DATETIME(6)  NOT NULL,
    finish_time DATETIME(6)  NULL
);
CREATE INDEX server_action_events_action ON server_action_events (action_id, start_time);

-- One row holds the spans that were recorded together with one change of
-- state, as JSON: a boot has 28 spans and four of these rows.
CREATE TABLE server_action_spans (
    id         VARCHAR(36) NOT NULL PRIMARY KEY,
    action_id  VARCHAR(36) NOT NULL,
    spans      TEXT        NOT NULL,
    created_at DATETIME(6) NOT NULL
);
CREATE INDEX server_action_spans_action ON server_action_spans (action_id, created_at);

CREATE TABLE server_groups (
    id         VARCHAR(36)  NOT NULL PRIMARY KEY,
    project_id VARCHAR(64)  NOT NULL,
    user_id    VARCHAR(64)  NOT NULL,
    name       VARCHAR(255) NOT NULL,
    policy     VARCHAR(32)  NOT NULL,
    max_per_host BIGINT     NOT NULL,
    created_at DATETIME(6)  NOT NULL
);
CREATE INDEX server_groups_project ON server_groups (project_id, id);

CREATE TABLE aggregates (
    id         BIGINT       NOT NULL PRIMARY KEY,
    uuid       VARCHAR(36)  NOT NULL,
    name       VARCHAR(255) NOT NULL,
    metadata   MEDIUMTEXT   NOT NULL,
    version    BIGINT       NOT NULL,
    created_at DATETIME(6)  NOT NULL,
    updated_at DATETIME(6)  NULL
);
CREATE UNIQUE INDEX aggregates_name ON aggregates (name);

CREATE TABLE aggregate_hosts (
    aggregate_id BIGINT       NOT NULL,
    host         VARCHAR(255) NOT NULL,
    PRIMARY KEY (aggregate_id, host)
);

CREATE TABLE services (
    id              VARCHAR(36)  NOT NULL PRIMARY KEY,
    seq             BIGINT       NOT NULL,
    host            VARCHAR(255) NOT NULL,
    service_name    VARCHAR(64)  NOT NULL,
    disabled        BOOLEAN      NOT NULL,
    disabled_reason VARCHAR(255) NULL,
    forced_down     BOOLEAN      NOT NULL,
    last_seen       DATETIME(6)  NOT NULL,
    created_at      DATETIME(6)  NOT NULL
);
CREATE UNIQUE INDEX services_host ON services (host, service_name);

CREATE TABLE hypervisors (
    id         VARCHAR(36)  NOT NULL PRIMARY KEY,
    seq        BIGINT       NOT NULL,
    host       VARCHAR(255) NOT NULL,
    hostname   VARCHAR(255) NOT NULL,
    type       VARCHAR(64)  NOT NULL,
    version    BIGINT       NOT NULL,
    host_ip    VARCHAR(64)  NOT NULL,
    vcpus      BIGINT       NOT NULL,
    memory_mb  BIGINT       NOT NULL,
    disk_gb    BIGINT       NOT NULL,
    cpu_info   TEXT         NOT NULL,
    traits     TEXT         NOT NULL,
    boot_time  DATETIME(6)  NULL,
    created_at DATETIME(6)  NOT NULL,
    updated_at DATETIME(6)  NOT NULL
);
CREATE UNIQUE INDEX hypervisors_host ON hypervisors (host);

CREATE TABLE quotas (
    project_id VARCHAR(64) NOT NULL,
    user_id    VARCHAR(64) NOT NULL,
    resource   VARCHAR(64) NOT NULL,
    hard_limit BIGINT      NOT NULL,
    PRIMARY KEY (project_id, user_id, resource)
);

CREATE TABLE quota_classes (
    class      VARCHAR(64) NOT NULL,
    resource   VARCHAR(64) NOT NULL,
    hard_limit BIGINT      NOT NULL,
    PRIMARY KEY (class, resource)
);

-- Counters are moved by relative, guarded updates in the transaction of the
-- thing they count, so that a quota cannot be passed by two at once.
CREATE TABLE quota_usages (
    owner_id VARCHAR(64) NOT NULL,
    resource VARCHAR(64) NOT NULL,
    in_use   BIGINT      NOT NULL,
    PRIMARY KEY (owner_id, resource)
);

CREATE TABLE idempotency_keys (
    project_id   VARCHAR(64)  NOT NULL,
    idem_key     VARCHAR(255) NOT NULL,
    request_hash VARCHAR(64)  NOT NULL,
    resource_id  VARCHAR(64)  NOT NULL,
    created_at   DATETIME(6)  NOT NULL,
    PRIMARY KEY (project_id, idem_key)
);

CREATE TABLE console_tokens (
    token_hash VARCHAR(64)  NOT NULL PRIMARY KEY,
    server_id  VARCHAR(36)  NOT NULL,
    kind       VARCHAR(16)  NOT NULL,
    host       VARCHAR(255) NOT NULL,
    address    VARCHAR(255) NOT NULL,
    port       BIGINT       NOT NULL,
    path       VARCHAR(255) NOT NULL,
    expires_at DATETIME(6)  NOT NULL
);
CREATE INDEX console_tokens_server ON console_tokens (server_id);
CREATE INDEX console_tokens_expiry ON console_tokens (expires_at);

-- +goose Down
DROP TABLE console_tokens;
DROP TABLE idempotency_keys;
DROP TABLE quota_usages;
DROP TABLE quota_classes;
DROP TABLE quotas;
DROP TABLE hypervisors;
DROP TABLE services;
DROP TABLE aggregate_hosts;
DROP TABLE aggregates;
DROP TABLE server_groups;
DROP TABLE server_action_spans;
DROP TABLE server_action_events;
DROP TABLE server_actions;
DROP TABLE server_tags;
DROP TABLE servers;
DROP TABLE keypairs;
DROP TABLE flavor_access;
DROP TABLE flavors;
DROP TABLE sequences;
