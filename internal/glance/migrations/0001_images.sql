-- +goose Up
CREATE TABLE images (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  name VARCHAR(255) NULL,
  owner VARCHAR(255) NOT NULL,
  status VARCHAR(16) NOT NULL,
  visibility VARCHAR(16) NOT NULL,
  disk_format VARCHAR(20) NULL,
  container_format VARCHAR(20) NULL,
  size BIGINT NULL,
  virtual_size BIGINT NULL,
  checksum VARCHAR(32) NULL,
  os_hash_algo VARCHAR(64) NULL,
  os_hash_value VARCHAR(128) NULL,
  min_disk BIGINT NOT NULL,
  min_ram BIGINT NOT NULL,
  protected BOOLEAN NOT NULL,
  os_hidden BOOLEAN NOT NULL,
  properties MEDIUMTEXT NOT NULL,
  tags MEDIUMTEXT NOT NULL,
  location VARCHAR(255) NOT NULL,
  upload_id VARCHAR(36) NOT NULL,
  upload_deadline DATETIME(6) NULL,
  version BIGINT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  updated_at DATETIME(6) NOT NULL
);
CREATE INDEX images_created ON images (created_at, id);
CREATE INDEX images_owner ON images (owner, created_at, id);
CREATE INDEX images_owner_name ON images (owner, name);
CREATE INDEX images_visibility ON images (visibility, created_at, id);
CREATE INDEX images_upload ON images (upload_deadline);

CREATE TABLE image_tags (
  image_id VARCHAR(36) NOT NULL,
  value VARCHAR(255) NOT NULL,
  PRIMARY KEY (image_id, value)
);
CREATE INDEX image_tags_value ON image_tags (value, image_id);

CREATE TABLE image_properties (
  image_id VARCHAR(36) NOT NULL,
  name VARCHAR(255) NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (image_id, name)
);
CREATE INDEX image_properties_name ON image_properties (name, image_id);

CREATE TABLE image_members (
  image_id VARCHAR(36) NOT NULL,
  member VARCHAR(255) NOT NULL,
  status VARCHAR(16) NOT NULL,
  created_at DATETIME(6) NOT NULL,
  updated_at DATETIME(6) NOT NULL,
  PRIMARY KEY (image_id, member)
);
CREATE INDEX image_members_member ON image_members (member, status, image_id);

-- Ids are never used twice: hypervisors cache image data by id. A row with a
-- location still has data to remove.
CREATE TABLE deleted_images (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  location VARCHAR(255) NOT NULL,
  deleted_at DATETIME(6) NOT NULL
);
CREATE INDEX deleted_images_location ON deleted_images (location);

-- +goose Down
DROP TABLE deleted_images;
DROP TABLE image_members;
DROP TABLE image_properties;
DROP TABLE image_tags;
DROP TABLE images;
