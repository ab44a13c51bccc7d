package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/hastack/hastack/internal/fault"
)

// Fault turns a client's error into a fault of the same kind with the remote
// service's own message. A service that cannot be reached is Unavailable.
func Fault(err error) error {
	if err == nil || fault.As(err) != nil {
		return err
	}
	if code, ok := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err); ok {
		kind := fault.KindOfStatus(code.Actual)
		if kind == fault.Internal {
			kind = fault.Unavailable
		}
		return fault.Wrap(kind, err, "%s", remoteMessage(code.Body)).WithCode(remoteCode(code.Body))
	}
	var urlErr *url.Error
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Timeout, err, "the service did not answer in time")
	case errors.As(err, &urlErr):
		return fault.Wrap(fault.Unavailable, err, "the service cannot be reached")
	}
	var unable *gophercloud.ErrUnableToReauthenticate
	var after *gophercloud.ErrErrorAfterReauthentication
	if errors.As(err, &unable) || errors.As(err, &after) {
		return fault.Wrap(fault.Unavailable, err, "authentication was refused")
	}
	if _, ok := errors.AsType[*gophercloud.ErrEndpointNotFound](err); ok {
		return fault.Wrap(fault.Unavailable, err, "the service is not in the catalog")
	}
	return err
}

// remoteMessage digs the text out of the envelopes of the OpenStack services.
func remoteMessage(body []byte) string {
	var doc map[string]json.RawMessage
	if json.Unmarshal(body, &doc) != nil {
		return clip(string(body))
	}
	for _, raw := range doc {
		var e struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(raw, &e) == nil && e.Message != "" {
			return e.Message
		}
		var list []struct {
			Detail string `json:"detail"`
		}
		if json.Unmarshal(raw, &list) == nil && len(list) > 0 && list[0].Detail != "" {
			return list[0].Detail
		}
	}
	var text string
	if json.Unmarshal(doc["message"], &text) == nil && text != "" {
		return text
	}
	return clip(string(body))
}

// remoteCode is Placement's error code or Neutron's exception type.
func remoteCode(body []byte) string {
	var doc struct {
		Neutron struct {
			Type string `json:"type"`
		} `json:"NeutronError"`
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &doc) != nil {
		return ""
	}
	if len(doc.Errors) > 0 {
		return doc.Errors[0].Code
	}
	return doc.Neutron.Type
}

func clip(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}
