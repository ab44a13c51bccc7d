package glanceapi

import (
	"maps"
	"net/http"

	"github.com/hastack/hastack/internal/glance"
	"github.com/hastack/hastack/internal/httpapi"
)

// The JSON schemas that clients fetch to learn which attributes are fixed.

func addSchemaRoutes(r *httpapi.Router) {
	for name, schema := range map[string]map[string]any{
		"image": imageSchema(), "images": listSchema("images", imageSchema(), true),
		"member": memberSchema(), "members": listSchema("members", memberSchema(), false),
	} {
		r.Handle("GET /v2/schemas/"+name, httpapi.AnyToken, http.StatusOK, func(*httpapi.Request) (any, error) { return schema, nil })
	}
}

const uuidPattern = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"

type schema = map[string]any

// attr describes an attribute; more are pairs of keyword and value.
func attr(kind any, description string, more ...any) schema {
	s := schema{"type": kind, "description": description}
	for i := 0; i+1 < len(more); i += 2 {
		s[more[i].(string)] = more[i+1]
	}
	return s
}

func nullable(kind string) []string { return []string{"null", kind} }

func withNull(values []string) []any {
	out := []any{nil}
	for _, v := range values {
		out = append(out, v)
	}
	return out
}

func link(rel, href string) schema { return schema{"rel": rel, "href": href} }

func imageSchema() schema {
	return schema{
		"name":                 "image",
		"additionalProperties": schema{"type": "string"},
		"links":                []schema{link("self", "{self}"), link("enclosure", "{file}"), link("describedby", "{schema}")},
		"properties":           imageProperties(),
	}
}

func imageProperties() schema {
	p := schema{
		"id":               attr("string", "The image's identifier", "pattern", uuidPattern),
		"name":             attr(nullable("string"), "The image's name, for people", "maxLength", 255),
		"status":           attr("string", "Where the image is in its life", "readOnly", true, "enum", []string{"queued", "saving", "active", "killed", "deleted", "uploading", "importing", "pending_delete", "deactivated"}),
		"visibility":       attr("string", "Who sees the image", "enum", []string{"community", "public", "private", "shared"}),
		"protected":        attr("boolean", "Whether the image is kept from being deleted"),
		"os_hidden":        attr("boolean", "Whether the image is left out of lists by default"),
		"checksum":         attr(nullable("string"), "MD5 of the data", "readOnly", true, "maxLength", 32),
		"os_hash_algo":     attr(nullable("string"), "The algorithm of os_hash_value", "readOnly", true, "maxLength", 64),
		"os_hash_value":    attr(nullable("string"), "Hash of the data in hexadecimal", "readOnly", true, "maxLength", 128),
		"owner":            attr(nullable("string"), "The project that owns the image", "maxLength", 255),
		"size":             attr(nullable("integer"), "Bytes of data", "readOnly", true),
		"virtual_size":     attr(nullable("integer"), "Bytes of the disk that a server sees", "readOnly", true),
		"container_format": attr(nullable("string"), "What the data is wrapped in", "enum", withNull(glance.ContainerFormats())),
		"disk_format":      attr(nullable("string"), "What kind of disk the data is", "enum", withNull(glance.DiskFormats())),
		"created_at":       attr("string", "When the image was registered", "readOnly", true),
		"updated_at":       attr("string", "When the image last changed", "readOnly", true),
		"tags":             attr("array", "Words attached to the image", "items", schema{"type": "string", "maxLength": 255}),
		"direct_url":       attr("string", "Where the data lies in a store", "readOnly", true),
		"min_ram":          attr("integer", "MiB of memory a server needs"),
		"min_disk":         attr("integer", "GiB of disk a server needs"),
		"self":             attr("string", "Link to the image", "readOnly", true),
		"file":             attr("string", "Link to the data", "readOnly", true),
		"schema":           attr("string", "Link to this schema", "readOnly", true),
		"locations":        locationsSchema(),
		"stores":           attr("string", "The stores that hold the data", "readOnly", true),
	}
	// Properties that have a meaning to servers but no column of their own.
	maps.Copy(p, schema{
		"architecture":  attr("string", "Processor architecture", "is_base", false),
		"kernel_id":     attr(nullable("string"), "Image of the kernel of an AMI", "is_base", false, "pattern", uuidPattern),
		"ramdisk_id":    attr(nullable("string"), "Image of the ramdisk of an AMI", "is_base", false, "pattern", uuidPattern),
		"os_distro":     attr("string", "Operating system distribution", "is_base", false),
		"os_version":    attr("string", "Operating system version", "is_base", false),
		"instance_uuid": attr("string", "The server this image was made from", "is_base", false),
	})
	return p
}

// locationsSchema describes an attribute that is hidden here, as it is by
// default; schemas name it nevertheless.
func locationsSchema() schema {
	return attr("array", "Where the data lies in stores", "items", schema{
		"type": "object", "required": []string{"url", "metadata"},
		"properties": schema{
			"url":      schema{"type": "string", "maxLength": 255},
			"metadata": schema{"type": "object"},
			"validation_data": schema{
				"description": "Hashes that the data must have", "type": "object", "writeOnly": true, "additionalProperties": false,
				"required": []string{"os_hash_algo", "os_hash_value"},
				"properties": schema{
					"checksum":      schema{"type": "string", "minLength": 32, "maxLength": 32},
					"os_hash_algo":  schema{"type": "string", "maxLength": 64},
					"os_hash_value": schema{"type": "string", "maxLength": 128},
				},
			},
		},
	})
}

func memberSchema() schema {
	return schema{"name": "member", "properties": schema{
		"created_at": attr("string", "When the image was offered"),
		"image_id":   attr("string", "The image", "pattern", uuidPattern),
		"member_id":  attr("string", "The project it is offered to"),
		"schema":     schema{"type": "string", "readOnly": true},
		"status":     attr("string", "What the project thinks of it", "enum", []string{"pending", "accepted", "rejected"}),
		"updated_at": attr("string", "When the membership last changed"),
	}}
}

func listSchema(name string, item schema, paged bool) schema {
	s := schema{
		"name":       name,
		"properties": schema{name: schema{"type": "array", "items": item}, "schema": schema{"type": "string"}},
		"links":      []schema{link("describedby", "{schema}")},
	}
	if paged {
		s["links"] = []schema{link("first", "{first}"), link("next", "{next}"), link("describedby", "{schema}")}
		p := s["properties"].(schema)
		p["first"], p["next"] = schema{"type": "string"}, schema{"type": "string"}
	}
	return s
}
