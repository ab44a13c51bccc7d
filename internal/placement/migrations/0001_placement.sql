-- +goose Up
CREATE TABLE revisions (
    id INTEGER NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    epoch BIGINT NOT NULL
);
INSERT INTO revisions (id, version, epoch) VALUES (1, 1, 1);

CREATE TABLE providers (
    uuid VARCHAR(36) NOT NULL PRIMARY KEY,
    name VARCHAR(200) NOT NULL,
    parent_uuid VARCHAR(36) NOT NULL,
    root_uuid VARCHAR(36) NOT NULL,
    generation BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    shape BIGINT NOT NULL,
    created_at DATETIME(6) NOT NULL,
    updated_at DATETIME(6) NOT NULL
);
CREATE UNIQUE INDEX uniq_providers_name ON providers (name);
CREATE INDEX idx_providers_parent ON providers (parent_uuid);
CREATE INDEX idx_providers_root ON providers (root_uuid);
CREATE INDEX idx_providers_revision ON providers (revision);
CREATE INDEX idx_providers_shape ON providers (shape);

CREATE TABLE inventories (
    provider_uuid VARCHAR(36) NOT NULL,
    resource_class VARCHAR(255) NOT NULL,
    total BIGINT NOT NULL,
    reserved BIGINT NOT NULL,
    min_unit BIGINT NOT NULL,
    max_unit BIGINT NOT NULL,
    step_size BIGINT NOT NULL,
    allocation_ratio DOUBLE NOT NULL,
    capacity BIGINT NOT NULL,
    used BIGINT NOT NULL,
    PRIMARY KEY (provider_uuid, resource_class)
);
CREATE INDEX idx_inventories_class ON inventories (resource_class);

CREATE TABLE consumers (
    uuid VARCHAR(36) NOT NULL PRIMARY KEY,
    project_id VARCHAR(255) NOT NULL,
    user_id VARCHAR(255) NOT NULL,
    consumer_type VARCHAR(255) NOT NULL,
    generation BIGINT NOT NULL,
    created_at DATETIME(6) NOT NULL,
    updated_at DATETIME(6) NOT NULL
);
CREATE INDEX idx_consumers_project ON consumers (project_id, user_id);

CREATE TABLE allocations (
    consumer_uuid VARCHAR(36) NOT NULL,
    provider_uuid VARCHAR(36) NOT NULL,
    resource_class VARCHAR(255) NOT NULL,
    used BIGINT NOT NULL,
    PRIMARY KEY (consumer_uuid, provider_uuid, resource_class)
);
CREATE INDEX idx_allocations_provider ON allocations (provider_uuid, resource_class);

CREATE TABLE resource_classes (
    name VARCHAR(255) NOT NULL PRIMARY KEY
);

CREATE TABLE traits (
    name VARCHAR(255) NOT NULL PRIMARY KEY
);

CREATE TABLE provider_traits (
    provider_uuid VARCHAR(36) NOT NULL,
    trait VARCHAR(255) NOT NULL,
    PRIMARY KEY (provider_uuid, trait)
);
CREATE INDEX idx_provider_traits_trait ON provider_traits (trait);

CREATE TABLE provider_aggregates (
    provider_uuid VARCHAR(36) NOT NULL,
    aggregate_uuid VARCHAR(36) NOT NULL,
    PRIMARY KEY (provider_uuid, aggregate_uuid)
);

-- +goose Down
DROP TABLE provider_aggregates;
DROP TABLE provider_traits;
DROP TABLE traits;
DROP TABLE resource_classes;
DROP TABLE allocations;
DROP TABLE consumers;
DROP TABLE inventories;
DROP TABLE providers;
DROP TABLE revisions;
