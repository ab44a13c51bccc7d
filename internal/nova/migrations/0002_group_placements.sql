-- +goose Up
-- Raised by each placement of a member: two at once would each miss the other.
ALTER TABLE server_groups ADD COLUMN placements BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE server_groups DROP COLUMN placements;
