package glanceapi

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/glance"
	"github.com/hastack/hastack/internal/httpapi"
)

// The two forms of JSON patch: {"op": "replace", "path": "/name", …} and, in
// the older one, {"replace": "/name", …}.
const (
	patch20 = "application/openstack-images-v2.0-json-patch"
	patch21 = "application/openstack-images-v2.1-json-patch"
)

const maxChanges = 1000

func readPatch(body []byte, form string) ([]glance.Change, error) {
	var list []map[string]any
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, fault.New(fault.BadRequest, "the request body must not be empty")
	}
	if err := httpapi.DecodeJSON(body, &list, true); err != nil {
		if json.Valid(body) {
			return nil, fault.New(fault.BadRequest, "request body must be a JSON array of operation objects.")
		}
		return nil, err
	}
	if len(list) > maxChanges {
		return nil, fault.New(fault.BadRequest, "more than %d operations in one patch", maxChanges)
	}
	var out []glance.Change
	for _, raw := range list {
		c, err := readChange(raw, form)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func readChange(raw map[string]any, form string) (glance.Change, error) {
	var c glance.Change
	var path string
	if form == patch21 {
		op, okOp := raw["op"].(string)
		p, okPath := raw["path"].(string)
		if !okOp || !okPath {
			return c, fault.New(fault.BadRequest, `operations must have the strings "op" and "path"`)
		}
		c.Op, path = op, p
	} else {
		for _, op := range []string{"add", "replace", "remove"} {
			p, ok := raw[op].(string)
			if !ok {
				continue
			}
			if c.Op != "" {
				return c, fault.New(fault.BadRequest, "operation objects must contain only one member named \"add\", \"remove\", or \"replace\".")
			}
			c.Op, path = op, p
		}
	}
	if c.Op != "add" && c.Op != "replace" && c.Op != "remove" {
		return c, fault.New(fault.BadRequest, "operations must be \"add\", \"remove\", or \"replace\".")
	}
	name, err := attributeOf(path)
	if err != nil {
		return c, err
	}
	c.Name = name
	value, ok := raw["value"]
	if !ok && c.Op != "remove" {
		return c, fault.New(fault.BadRequest, "operation %q requires a member named \"value\".", c.Op)
	}
	if c.Op != "remove" {
		c.Value = value
	}
	return c, nil
}

// attributeOf reads a JSON pointer to a top-level attribute.
func attributeOf(path string) (string, error) {
	name, ok := strings.CutPrefix(path, "/")
	if !ok || name == "" || strings.Contains(name, "//") || strings.HasSuffix(name, "/") {
		return "", fault.New(fault.BadRequest, "pointer %.64q is not of the form /NAME", path)
	}
	if root, _, deep := strings.Cut(name, "/"); deep {
		if root == "locations" {
			return root, nil
		}
		return "", fault.New(fault.BadRequest, "invalid JSON pointer for this resource: %.64q", path)
	}
	for i := 0; i < len(name); i++ {
		if name[i] == '~' && (i+1 == len(name) || name[i+1] != '0' && name[i+1] != '1') {
			return "", fault.New(fault.BadRequest, "pointer %.64q contains \"~\" which is not part of a recognized escape sequence.", path)
		}
	}
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(name), nil
}
