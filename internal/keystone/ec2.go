package keystone

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/fault"
)

// ec2MaxAge is how old a signed request may be, and how far ahead its clock:
// an older signature is a replay (OSSA-2020-003).
const ec2MaxAge = 15 * time.Minute

// An EC2Request is a request as its signature covers it; version 2 and version
// 4 signatures with SHA-256 are understood.
type EC2Request struct {
	Access    string
	Signature config.Secret
	Host      string
	Verb      string
	Path      string
	Params    map[string]string
	Headers   map[string]string
	BodyHash  string
}

// AuthenticateEC2 issues a token for the user and project of an access key if
// the request was signed with its secret. Everything about the user, the
// project and the roles is checked as for any other login.
func (s *Service) AuthenticateEC2(ctx context.Context, req EC2Request) (string, *Token, error) {
	start := s.clock.Now()
	c, err := s.Credential(ctx, ec2ID(req.Access))
	if fault.Is(err, fault.NotFound) || err == nil && c.Type != credentialEC2 {
		return "", nil, unauthorized()
	}
	if err != nil {
		return "", nil, err
	}
	blob, err := readEC2Blob(c.Blob)
	if err != nil {
		return "", nil, unauthorized()
	}
	want, signedAt, ok := req.sign(blob.Secret)
	if age := s.clock.Now().Sub(signedAt); !ok || age > ec2MaxAge || age < -ec2MaxAge {
		return "", nil, unauthorized()
	}
	if !hmac.Equal([]byte(want), []byte(req.Signature.Reveal())) {
		return "", nil, unauthorized()
	}
	now := s.clock.Now()
	p := &payload{
		UserID: c.UserID, Methods: []string{methodEC2}, Scope: projectScope, ScopeID: c.ProjectID, AppCredID: blob.AppCredID,
		AuditIDs: []string{newAuditID()}, IssuedAt: now, ExpiresAt: now.Add(s.cfg.TokenTTL),
	}
	return s.issue(ctx, p, start, now.Sub(start))
}

// sign computes the signature that the request should have and when it says
// it was made.
func (r *EC2Request) sign(secret string) (signature string, at time.Time, ok bool) {
	if auth := r.header("authorization"); strings.HasPrefix(auth, "AWS4-HMAC-SHA256 ") || r.Params["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256" {
		return r.signV4(secret, auth)
	}
	if r.Params["SignatureVersion"] != "2" || r.Params["SignatureMethod"] != "HmacSHA256" {
		return "", at, false
	}
	at, err := time.Parse("2006-01-02T15:04:05", strings.TrimSuffix(strings.SplitN(r.Params["Timestamp"], ".", 2)[0], "Z"))
	if err != nil {
		return "", at, false
	}
	text := strings.Join([]string{r.Verb, strings.ToLower(r.Host), r.Path, r.query("Signature")}, "\n")
	return base64.StdEncoding.EncodeToString(sum(secret, text)), at, true
}

func (r *EC2Request) signV4(secret, auth string) (string, time.Time, bool) {
	scope, signed, stamp := r.Params["X-Amz-Credential"], r.Params["X-Amz-SignedHeaders"], r.Params["X-Amz-Date"]
	if auth != "" {
		stamp = r.header("x-amz-date")
		for part := range strings.SplitSeq(strings.TrimPrefix(auth, "AWS4-HMAC-SHA256 "), ",") {
			k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch k {
			case "Credential":
				scope = v
			case "SignedHeaders":
				signed = v
			}
		}
	}
	_, scope, _ = strings.Cut(scope, "/")
	words := strings.Split(scope, "/")
	at, err := time.Parse("20060102T150405Z", stamp)
	if err != nil || len(words) != 4 || words[0] != stamp[:8] || words[3] != "aws4_request" {
		return "", at, false
	}
	var headers strings.Builder
	for name := range strings.SplitSeq(signed, ";") {
		headers.WriteString(name + ":" + strings.Join(strings.Fields(r.header(name)), " ") + "\n")
	}
	canonical := strings.Join([]string{r.Verb, r.Path, r.query("X-Amz-Signature"), headers.String(), signed, r.BodyHash}, "\n")
	digest := sha256.Sum256([]byte(canonical))
	text := strings.Join([]string{"AWS4-HMAC-SHA256", stamp, scope, hex.EncodeToString(digest[:])}, "\n")
	key := []byte("AWS4" + secret)
	for _, w := range words {
		key = sum(string(key), w)
	}
	return hex.EncodeToString(sum(string(key), text)), at, true
}

func (r *EC2Request) header(name string) string {
	if strings.EqualFold(name, "host") && r.Host != "" {
		return r.Host
	}
	for k, v := range r.Headers {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

// query is the canonical query string without the parameter that holds the
// signature itself.
func (r *EC2Request) query(without string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(r.Params)) {
		if k != without {
			parts = append(parts, escape(k)+"="+escape(r.Params[k]))
		}
	}
	return strings.Join(parts, "&")
}

func escape(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

func sum(key, text string) []byte {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(text))
	return h.Sum(nil)
}
