package novaapi

import (
	"net/http"

	"github.com/hastack/hastack/internal/httpapi"
)

func (a *API) addVersionRoutes() {
	a.Handle("GET /{$}", httpapi.Public, http.StatusOK, a.listVersions)
	a.Handle("GET /v2.1", httpapi.Public, http.StatusOK, a.showVersion)
}

type versionView struct {
	ID         string      `json:"id"`
	Links      []link      `json:"links"`
	MediaTypes []mediaType `json:"media-types,omitempty"`
	Status     string      `json:"status"`
	Version    string      `json:"version"`
	MinVersion string      `json:"min_version"`
	Updated    string      `json:"updated"`
}

type mediaType struct {
	Base string `json:"base"`
	Type string `json:"type"`
}

func (a *API) version() versionView {
	return versionView{ID: "v2.1", Links: []link{{a.url + "/v2.1/", "self"}}, Status: "CURRENT",
		Version: MaxVersion.String(), MinVersion: MinVersion.String(), Updated: "2013-07-23T11:33:21Z"}
}

func (a *API) listVersions(*httpapi.Request) (any, error) {
	return map[string]any{"versions": []versionView{a.version()}}, nil
}

func (a *API) showVersion(*httpapi.Request) (any, error) {
	v := a.version()
	v.Links = append(v.Links, link{"https://docs.openstack.org/", "describedby"})
	v.MediaTypes = []mediaType{{"application/json", "application/vnd.openstack.compute+json;version=2.1"}}
	return map[string]any{"version": v}, nil
}
