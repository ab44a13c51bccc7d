// Package hostile sends a whole cloud what clients should not send: broken
// bodies, foreign and malformed ids, tampered tokens, and secrets that must not
// come back. It starts the binary named by HASTACK_BIN with simulated servers
// and needs no root; without it the tests skip.
//
// With HASTACK_TEST_MYSQL the cloud keeps its state on that server instead of
// SQLite. Its databases keystone, glance, placement, nova and neutron must be
// there and empty, so run one test at a time.
package hostile
