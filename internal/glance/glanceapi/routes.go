// Package glanceapi speaks the image API v2 over HTTP.
//
// Handlers check the policy, read the request, call one method of
// glance.Service and write the view. Read routes.go for the table, images.go
// and data.go for the main path; list.go reads filters, patch.go the two forms
// of JSON patch, view.go writes images. What the API publishes and is not
// built here answers 501.
package glanceapi

import (
	"log/slog"
	"net/http"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/glance"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/policy"
	"github.com/hastack/hastack/internal/telemetry"
)

// Config of the front.
type Config struct {
	PublicURL string // as in the catalog, without the version
	AuthURL   string
	Auth      *authtoken.Middleware
	Policy    *policy.Enforcer // of glance.Rules
	Log       *slog.Logger
	Metrics   *telemetry.Metrics
	Clock     clock.Clock // nil means the system's
}

// API is the front of one service.
type API struct {
	glance *glance.Service
	clock  clock.Clock
	*httpapi.Router
}

// New makes the front.
func New(svc *glance.Service, cfg Config) *API {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	rt := httpapi.NewRouter(httpapi.Config{
		Service: "image", PublicURL: cfg.PublicURL, AuthURL: cfg.AuthURL, Auth: cfg.Auth, Policy: cfg.Policy,
		Log: cfg.Log, Metrics: cfg.Metrics, Clock: cfg.Clock, WriteError: writeError,
	})
	a := &API{glance: svc, clock: cfg.Clock, Router: rt}
	a.addVersionRoutes(rt)
	a.addImageRoutes(rt)
	a.addDataRoutes(rt)
	a.addMemberRoutes(rt)
	a.addInfoRoutes(rt)
	addSchemaRoutes(rt)
	addUnbuiltRoutes(rt)
	return a
}

func (a *API) addImageRoutes(r *httpapi.Router) {
	r.Handle("GET /v2/images", "get_images", http.StatusOK, a.listImages)
	r.Handle("POST /v2/images", "add_image", http.StatusCreated, a.createImage)
	r.Handle("GET /v2/images/{image_id}", "get_image", http.StatusOK, a.showImage)
	r.Handle("PATCH /v2/images/{image_id}", "modify_image", http.StatusOK, a.updateImage)
	r.Handle("DELETE /v2/images/{image_id}", "delete_image", http.StatusNoContent, a.deleteImage)
	r.Handle("POST /v2/images/{image_id}/actions/deactivate", "deactivate", http.StatusNoContent, a.deactivateImage)
	r.Handle("POST /v2/images/{image_id}/actions/reactivate", "reactivate", http.StatusNoContent, a.reactivateImage)
	r.Handle("PUT /v2/images/{image_id}/tags/{tag}", "modify_image", http.StatusNoContent, a.addTag)
	r.Handle("DELETE /v2/images/{image_id}/tags/{tag}", "modify_image", http.StatusNoContent, a.removeTag)
}

func (a *API) addDataRoutes(r *httpapi.Router) {
	r.HandleStream("GET /v2/images/{image_id}/file", "download_image", a.download)
	r.HandleStream("PUT /v2/images/{image_id}/file", "upload_image", a.upload)
	r.HandleStream("PUT /v2/images/{image_id}/stage", "upload_image", a.stage)
	r.Handle("POST /v2/images/{image_id}/import", "modify_image", http.StatusAccepted, a.importImage)
}

func (a *API) addMemberRoutes(r *httpapi.Router) {
	const members = "/v2/images/{image_id}/members"
	r.Handle("GET "+members, "get_members", http.StatusOK, a.listMembers)
	r.Handle("POST "+members, "add_member", http.StatusOK, a.addMember)
	r.Handle("GET "+members+"/{member_id}", "get_member", http.StatusOK, a.showMember)
	r.Handle("PUT "+members+"/{member_id}", "modify_member", http.StatusOK, a.updateMember)
	r.Handle("DELETE "+members+"/{member_id}", "delete_member", http.StatusNoContent, a.removeMember)
}

func (a *API) addInfoRoutes(r *httpapi.Router) {
	r.Handle("GET /v2/info/import", httpapi.AnyToken, http.StatusOK, showImportInfo)
	r.Handle("GET /v2/info/stores", httpapi.AnyToken, http.StatusOK, listStores)
	r.Handle("GET /v2/info/stores/detail", "stores_info_detail", http.StatusOK, listStoresDetail)
	r.Handle("GET /v2/info/usage", httpapi.AnyToken, http.StatusOK, a.showUsage)
}

// addUnbuiltRoutes: published, not built, and said so.
func addUnbuiltRoutes(r *httpapi.Router) {
	no := func(what string) httpapi.Handler {
		return func(*httpapi.Request) (any, error) {
			return nil, fault.New(fault.NotImplemented, "%s are not implemented", what)
		}
	}
	for _, route := range []struct{ pattern, what string }{
		{"GET /v2/tasks", "tasks"},
		{"POST /v2/tasks", "tasks"},
		{"GET /v2/tasks/{task_id}", "tasks"},
		{"GET /v2/images/{image_id}/tasks", "tasks"},
		{"GET /v2/images/{image_id}/locations", "image locations"},
		{"POST /v2/images/{image_id}/locations", "image locations"},
		{"DELETE /v2/stores/{store_id}/{image_id}", "several stores"},
		{"GET /v2/cache", "image caches"},
		{"DELETE /v2/cache", "image caches"},
		{"PUT /v2/cache/{image_id}", "image caches"},
		{"DELETE /v2/cache/{image_id}", "image caches"},
		{"GET /v2/metadefs/{rest...}", "metadata definitions"},
		{"POST /v2/metadefs/{rest...}", "metadata definitions"},
		{"PUT /v2/metadefs/{rest...}", "metadata definitions"},
		{"DELETE /v2/metadefs/{rest...}", "metadata definitions"},
	} {
		r.Handle(route.pattern, httpapi.AnyToken, http.StatusOK, no(route.what))
	}
}

// errorView is how Glance writes errors for clients that accept JSON.
type errorView struct {
	Message string `json:"message"`
	Code    string `json:"code"`
	Title   string `json:"title"`
}

func writeError(w http.ResponseWriter, r *http.Request, e *fault.Error) {
	status := e.Kind.Status()
	title := http.StatusText(status)
	httpapi.WriteJSON(w, r, status, errorView{Message: e.Text, Code: codeText(status, title), Title: title})
}
