// Package hostile sends a whole cloud what clients should not send: broken
// bodies, foreign and malformed ids, tampered tokens, and secrets that must not
// come back. It starts the binary named by HASTACK_BIN with simulated servers
// and needs no root; without it the tests skip.
package hostile
