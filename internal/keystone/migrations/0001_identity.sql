-- +goose Up
CREATE TABLE revisions (
  name VARCHAR(32) NOT NULL,
  value BIGINT NOT NULL,
  PRIMARY KEY (name)
);
INSERT INTO revisions (name, value) VALUES ('identity', 1);
INSERT INTO revisions (name, value) VALUES ('catalog', 1);
INSERT INTO revisions (name, value) VALUES ('revocation', 1);

CREATE TABLE domains (
  id VARCHAR(64) NOT NULL,
  name VARCHAR(64) NOT NULL,
  description TEXT NOT NULL,
  enabled BOOLEAN NOT NULL,
  extra TEXT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX domains_name ON domains (name);

CREATE TABLE projects (
  id VARCHAR(64) NOT NULL,
  domain_id VARCHAR(64) NOT NULL,
  parent_id VARCHAR(64) NULL,
  name VARCHAR(64) NOT NULL,
  description TEXT NOT NULL,
  enabled BOOLEAN NOT NULL,
  extra TEXT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX projects_domain_name ON projects (domain_id, name);
CREATE INDEX projects_parent ON projects (parent_id);
CREATE INDEX projects_name ON projects (name);

CREATE TABLE project_tags (
  project_id VARCHAR(64) NOT NULL,
  name VARCHAR(255) NOT NULL,
  PRIMARY KEY (project_id, name)
);
CREATE INDEX project_tags_name ON project_tags (name);

CREATE TABLE users (
  id VARCHAR(64) NOT NULL,
  domain_id VARCHAR(64) NOT NULL,
  name VARCHAR(255) NOT NULL,
  enabled BOOLEAN NOT NULL,
  default_project_id VARCHAR(64) NULL,
  password_hash VARCHAR(255) NOT NULL,
  password_changed_at DATETIME(6) NULL,
  password_expires_at DATETIME(6) NULL,
  failed_logins BIGINT NOT NULL,
  failed_login_at DATETIME(6) NULL,
  extra TEXT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX users_domain_name ON users (domain_id, name);
CREATE INDEX users_name ON users (name);

CREATE TABLE user_groups (
  id VARCHAR(64) NOT NULL,
  domain_id VARCHAR(64) NOT NULL,
  name VARCHAR(64) NOT NULL,
  description TEXT NOT NULL,
  extra TEXT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX user_groups_domain_name ON user_groups (domain_id, name);

CREATE TABLE memberships (
  user_id VARCHAR(64) NOT NULL,
  group_id VARCHAR(64) NOT NULL,
  PRIMARY KEY (user_id, group_id)
);
CREATE INDEX memberships_group ON memberships (group_id, user_id);

-- domain_id is the empty text for a global role: a unique key over NULL would
-- hold nothing.
CREATE TABLE roles (
  id VARCHAR(64) NOT NULL,
  domain_id VARCHAR(64) NOT NULL,
  name VARCHAR(255) NOT NULL,
  description TEXT NULL,
  extra TEXT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX roles_domain_name ON roles (domain_id, name);

CREATE TABLE implied_roles (
  prior_role_id VARCHAR(64) NOT NULL,
  implied_role_id VARCHAR(64) NOT NULL,
  PRIMARY KEY (prior_role_id, implied_role_id)
);
CREATE INDEX implied_roles_implied ON implied_roles (implied_role_id);

-- actor_kind is user or group; target_kind is project, domain or system.
CREATE TABLE assignments (
  actor_kind VARCHAR(8) NOT NULL,
  actor_id VARCHAR(64) NOT NULL,
  target_kind VARCHAR(8) NOT NULL,
  target_id VARCHAR(64) NOT NULL,
  role_id VARCHAR(64) NOT NULL,
  inherited BOOLEAN NOT NULL,
  PRIMARY KEY (actor_kind, actor_id, target_kind, target_id, role_id, inherited)
);
CREATE INDEX assignments_target ON assignments (target_kind, target_id);
CREATE INDEX assignments_role ON assignments (role_id);

CREATE TABLE regions (
  id VARCHAR(255) NOT NULL,
  parent_region_id VARCHAR(255) NULL,
  description TEXT NOT NULL,
  extra TEXT NOT NULL,
  PRIMARY KEY (id)
);

CREATE TABLE catalog_services (
  id VARCHAR(64) NOT NULL,
  type VARCHAR(255) NOT NULL,
  name VARCHAR(255) NOT NULL,
  description TEXT NULL,
  enabled BOOLEAN NOT NULL,
  extra TEXT NOT NULL,
  PRIMARY KEY (id)
);
CREATE INDEX catalog_services_type ON catalog_services (type);

CREATE TABLE endpoints (
  id VARCHAR(64) NOT NULL,
  service_id VARCHAR(64) NOT NULL,
  region_id VARCHAR(255) NULL,
  interface VARCHAR(8) NOT NULL,
  url TEXT NOT NULL,
  enabled BOOLEAN NOT NULL,
  extra TEXT NOT NULL,
  PRIMARY KEY (id)
);
CREATE INDEX endpoints_service ON endpoints (service_id);

CREATE TABLE application_credentials (
  id VARCHAR(64) NOT NULL,
  user_id VARCHAR(64) NOT NULL,
  project_id VARCHAR(64) NOT NULL,
  name VARCHAR(255) NOT NULL,
  description TEXT NULL,
  secret_hash VARCHAR(255) NOT NULL,
  expires_at DATETIME(6) NULL,
  unrestricted BOOLEAN NOT NULL,
  created_at DATETIME(6) NOT NULL,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX application_credentials_user_name ON application_credentials (user_id, name);
CREATE INDEX application_credentials_project ON application_credentials (project_id);

CREATE TABLE application_credential_roles (
  application_credential_id VARCHAR(64) NOT NULL,
  role_id VARCHAR(64) NOT NULL,
  PRIMARY KEY (application_credential_id, role_id)
);

CREATE TABLE credentials (
  id VARCHAR(64) NOT NULL,
  user_id VARCHAR(64) NOT NULL,
  project_id VARCHAR(64) NULL,
  type VARCHAR(255) NOT NULL,
  encrypted_blob TEXT NOT NULL,
  extra TEXT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  PRIMARY KEY (id)
);
CREATE INDEX credentials_user ON credentials (user_id);
CREATE INDEX credentials_project ON credentials (project_id);

-- revision is the value that revisions('revocation') had when the event was
-- made, so a process reads only what it has not seen.
CREATE TABLE revocation_events (
  revision BIGINT NOT NULL,
  kind VARCHAR(16) NOT NULL,
  subject VARCHAR(64) NOT NULL,
  issued_before DATETIME(6) NOT NULL,
  expires_at DATETIME(6) NOT NULL,
  PRIMARY KEY (revision, kind, subject)
);
CREATE INDEX revocation_events_expires ON revocation_events (expires_at);

-- +goose Down
DROP TABLE revocation_events;
DROP TABLE credentials;
DROP TABLE application_credential_roles;
DROP TABLE application_credentials;
DROP TABLE endpoints;
DROP TABLE catalog_services;
DROP TABLE regions;
DROP TABLE assignments;
DROP TABLE implied_roles;
DROP TABLE roles;
DROP TABLE memberships;
DROP TABLE user_groups;
DROP TABLE users;
DROP TABLE project_tags;
DROP TABLE projects;
DROP TABLE domains;
DROP TABLE revisions;
