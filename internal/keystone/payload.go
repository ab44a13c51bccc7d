package keystone

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"time"
)

// Authentication methods, as they are named in requests and tokens.
const (
	methodPassword = "password"
	methodToken    = "token"
	methodAppCred  = "application_credential"
	methodEC2      = "ec2credential"
)

// methodNames in the order of their bits; the order of a token's methods is
// not kept, as in Keystone.
var methodNames = [...]string{methodPassword, methodToken, methodAppCred, methodEC2}

// payload is what a token carries, encrypted: ids and times, no names, no
// roles. It is kept short because it travels in a header of every request.
type payload struct {
	UserID    string
	Methods   []string
	Scope     scopeKind
	ScopeID   string // project or domain
	AppCredID string
	// AuditIDs are the token's own id and, for a token got by another token,
	// the id of the first in that chain.
	AuditIDs  []string
	IssuedAt  time.Time
	ExpiresAt time.Time
}

type scopeKind byte

const (
	unscoped scopeKind = iota
	projectScope
	domainScope
	systemScope
)

const payloadVersion = 1

var errPayload = errors.New("the token's content is not readable")

// chainID is the audit id that all tokens made from one login share.
func (p *payload) chainID() string { return p.AuditIDs[len(p.AuditIDs)-1] }

func (p *payload) encode() []byte {
	b := make([]byte, 0, 128)
	b = append(b, payloadVersion, byte(p.Scope), methodBits(p.Methods))
	b = binary.BigEndian.AppendUint64(b, uint64(p.IssuedAt.UnixMicro()))
	b = binary.BigEndian.AppendUint64(b, uint64(p.ExpiresAt.UnixMicro()))
	b = appendID(b, p.UserID)
	b = appendID(b, p.ScopeID)
	b = appendID(b, p.AppCredID)
	b = append(b, byte(len(p.AuditIDs)))
	for _, a := range p.AuditIDs {
		raw, err := base64.RawURLEncoding.DecodeString(a)
		if err != nil || len(raw) != 16 {
			panic("keystone: audit id " + a + " was not made by newAuditID")
		}
		b = append(b, raw...)
	}
	return b
}

func decodePayload(b []byte) (*payload, error) {
	if len(b) < 19 || b[0] != payloadVersion || scopeKind(b[1]) > systemScope || b[2] == 0 || b[2] >= 1<<len(methodNames) {
		return nil, errPayload
	}
	p := &payload{Scope: scopeKind(b[1])}
	for i, name := range methodNames {
		if b[2]&(1<<i) != 0 {
			p.Methods = append(p.Methods, name)
		}
	}
	p.IssuedAt = time.UnixMicro(int64(binary.BigEndian.Uint64(b[3:]))).UTC()
	p.ExpiresAt = time.UnixMicro(int64(binary.BigEndian.Uint64(b[11:]))).UTC()
	b = b[19:]
	var ok bool
	for _, id := range []*string{&p.UserID, &p.ScopeID, &p.AppCredID} {
		if *id, b, ok = cutID(b); !ok {
			return nil, errPayload
		}
	}
	if len(b) < 1 || b[0] < 1 || b[0] > 2 || len(b) != 1+16*int(b[0]) || p.UserID == "" {
		return nil, errPayload
	}
	for raw := b[1:]; len(raw) > 0; raw = raw[16:] {
		p.AuditIDs = append(p.AuditIDs, base64.RawURLEncoding.EncodeToString(raw[:16]))
	}
	if (p.Scope == projectScope || p.Scope == domainScope) != (p.ScopeID != "") {
		return nil, errPayload
	}
	return p, nil
}

func methodBits(methods []string) byte {
	var bits byte
	for i, name := range methodNames {
		if slices.Contains(methods, name) {
			bits |= 1 << i
		}
	}
	return bits
}

// appendID writes an id as 0xff and 16 bytes if it is 32 hex digits, else as
// its length and text. Ids are at most 64 bytes long in the database.
func appendID(b []byte, id string) []byte {
	if len(id) == 32 {
		if raw, err := hex.DecodeString(id); err == nil && hex.EncodeToString(raw) == id {
			return append(append(b, 0xff), raw...)
		}
	}
	return append(append(b, byte(len(id))), id...)
}

func cutID(b []byte) (id string, rest []byte, ok bool) {
	if len(b) == 0 {
		return "", nil, false
	}
	n := int(b[0])
	b = b[1:]
	if n == 0xff {
		if len(b) < 16 {
			return "", nil, false
		}
		return hex.EncodeToString(b[:16]), b[16:], true
	}
	if n > 64 || len(b) < n {
		return "", nil, false
	}
	return string(b[:n]), b[n:], true
}
