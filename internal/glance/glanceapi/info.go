package glanceapi

import (
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
)

func showImportInfo(*httpapi.Request) (any, error) {
	return map[string]any{"import-methods": map[string]any{
		"description": "Import methods available.", "type": "array", "value": []string{"glance-direct", "web-download"},
	}}, nil
}

// storeID is the name of the one store, a directory.
const storeID = "file"

func listStores(*httpapi.Request) (any, error) {
	return map[string]any{"stores": []map[string]any{{
		"id": storeID, "description": "the image directory", "default": "true",
	}}}, nil
}

func listStoresDetail(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	return map[string]any{"stores": []map[string]any{{
		"id": storeID, "type": "file", "description": "the image directory", "default": "true", "weight": 0,
		"properties": map[string]any{"chunk_size": 1 << 20, "thin_provisioning": false},
	}}}, nil
}

type usageItem struct {
	Limit int64 `json:"limit"` // -1 is no limit
	Usage int64 `json:"usage"`
}

func (a *API) showUsage(r *httpapi.Request) (any, error) {
	v := viewer(r)
	if v.ProjectID == "" {
		return nil, fault.New(fault.BadRequest, "usage is counted per project; use a token of one")
	}
	u, err := a.glance.Usage(r.Context(), v.ProjectID)
	if err != nil {
		return nil, err
	}
	const mib = 1 << 20
	return map[string]any{"usage": map[string]usageItem{
		"image_size_total":      {-1, (u.Bytes + mib - 1) / mib},
		"image_count_total":     {-1, u.Images},
		"image_stage_total":     {-1, (u.Staged + mib - 1) / mib},
		"image_count_uploading": {-1, u.Uploading},
	}}, nil
}
