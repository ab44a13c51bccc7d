package db

import "regexp"

// repeatable makes migrations pass over what an interrupted run has already
// made. MariaDB commits after each CREATE, so a server or a process that goes
// away in the middle of a file leaves its first half, which the next run meets;
// SQLite undoes it. Only the beginning of a line is a statement's.
func repeatable(files flatFS) flatFS {
	rules := []struct {
		pattern *regexp.Regexp
		with    string
	}{
		{regexp.MustCompile(`(?m)^(CREATE TABLE|CREATE INDEX|CREATE UNIQUE INDEX) `), "$1 IF NOT EXISTS "},
		{regexp.MustCompile(`(?m)^INSERT INTO `), "INSERT IGNORE INTO "},
		{regexp.MustCompile(`(?m)^(ALTER TABLE \S+ ADD COLUMN) `), "$1 IF NOT EXISTS "},
		{regexp.MustCompile(`(?m)^(ALTER TABLE \S+ DROP COLUMN|DROP TABLE|DROP INDEX) `), "$1 IF EXISTS "},
	}
	out := flatFS{}
	for name, b := range files {
		for _, r := range rules {
			b = r.pattern.ReplaceAll(b, []byte(r.with))
		}
		out[name] = b
	}
	return out
}
