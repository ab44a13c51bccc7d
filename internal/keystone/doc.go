// Package keystone is the identity service: who a caller is, what they may act
// on, and where the other services are.
//
// Passwords, tokens and application credentials turn into Fernet tokens
// (auth.go, issue.go, payload.go). A token holds ids only; its roles are worked
// out again whenever it is validated (validate.go), from rows that are read
// once and remembered until a revision counter in the database says that
// something changed (revision.go). So no validation needs the database while
// nothing changes, and every change is seen by every process within 50 ms.
//
//	revision.go     what may be remembered and for how long
//	payload.go      the bytes inside a token         keys.go      the keys
//	auth.go         methods and scope of a login     password.go  hashing, bounded
//	issue.go        making a token                   validate.go  judging one
//	revoke.go       revocation events
//	domain.go project.go user.go group.go role.go assignment.go effective.go
//	catalog.go appcred.go credential.go ec2.go       the resources
//	bootstrap.go    what a new cloud starts with
//	policy.go       the published rules
//
// The SQL of a resource is in its *_store.go; HTTP is in keystoneapi. Not done:
// trusts, federation, OAuth, access rules, limits, LDAP.
package keystone
