-- +goose Up
CREATE TABLE operations (
  id VARCHAR(36) NOT NULL,
  kind VARCHAR(64) NOT NULL,
  resource_id VARCHAR(64) NOT NULL,
  project_id VARCHAR(64) NOT NULL,
  request_id VARCHAR(64) NOT NULL,
  idempotency_key VARCHAR(255) NULL,
  state VARCHAR(16) NOT NULL,
  step VARCHAR(64) NOT NULL,
  args MEDIUMTEXT NOT NULL,
  journal MEDIUMTEXT NOT NULL,
  error TEXT NOT NULL,
  error_kind INTEGER NOT NULL,
  version BIGINT NOT NULL,
  owner VARCHAR(160) NOT NULL,
  lease_until DATETIME(6) NULL,
  slot VARCHAR(64) NULL,
  signal_name VARCHAR(16) NOT NULL,
  deadline DATETIME(6) NOT NULL,
  created_at DATETIME(6) NOT NULL,
  updated_at DATETIME(6) NOT NULL,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX operations_idempotency_key ON operations (idempotency_key);
CREATE UNIQUE INDEX operations_slot ON operations (slot);
CREATE INDEX operations_state ON operations (state, created_at);
CREATE INDEX operations_resource ON operations (resource_id, created_at);

-- +goose Down
DROP TABLE operations;
