package keystoneapi

import (
	"net/http"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/policy"
)

type ec2Body struct {
	Credentials *ec2Request `json:"credentials"`
	Old         *ec2Request `json:"ec2Credentials"`
}

type ec2Request struct {
	Access    string            `json:"access"`
	Signature string            `json:"signature"`
	Host      string            `json:"host"`
	Verb      string            `json:"verb"`
	Path      string            `json:"path"`
	Params    map[string]string `json:"params"`
	Headers   map[string]string `json:"headers"`
	BodyHash  string            `json:"body_hash"`
}

// createEC2Token turns a signed request into a token, for services only: to
// anybody else a presigned URL would be a token (OSSA-2025-002).
func (a *API) createEC2Token(r *httpapi.Request) (any, error) {
	if err := r.Enforce(policy.Target{}); err != nil {
		return nil, err
	}
	var body ec2Body
	if err := r.DecodeLoose(&body); err != nil {
		return nil, err
	}
	in := body.Credentials
	if in == nil {
		in = body.Old
	}
	if in == nil || in.Access == "" || in.Signature == "" {
		return nil, missing("credentials with access and signature")
	}
	text, t, err := a.keystone.AuthenticateEC2(r.Context(), keystone.EC2Request{
		Access: in.Access, Signature: config.NewSecret(in.Signature), Host: in.Host, Verb: in.Verb, Path: in.Path,
		Params: in.Params, Headers: in.Headers, BodyHash: in.BodyHash,
	})
	if err != nil {
		return nil, err
	}
	b, err := t.Body(true, a.encodeToken)
	return httpapi.Response{Body: b, Header: http.Header{"X-Subject-Token": {text}, "Vary": {"X-Auth-Token"}}}, err
}
