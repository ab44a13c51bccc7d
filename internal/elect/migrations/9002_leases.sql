-- +goose Up
CREATE TABLE leases (
  name VARCHAR(64) NOT NULL,
  holder VARCHAR(160) NOT NULL,
  token BIGINT NOT NULL,
  expires_at DATETIME(6) NOT NULL,
  PRIMARY KEY (name)
);

-- +goose Down
DROP TABLE leases;
