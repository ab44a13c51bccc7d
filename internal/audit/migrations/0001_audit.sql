-- +goose Up
CREATE TABLE verdicts (
  name VARCHAR(36) NOT NULL,
  ended_at DATETIME(6) NOT NULL,
  leader VARCHAR(160) NOT NULL,
  findings MEDIUMTEXT NOT NULL,
  unseen MEDIUMTEXT NOT NULL,
  PRIMARY KEY (name)
);

-- +goose Down
DROP TABLE verdicts;
