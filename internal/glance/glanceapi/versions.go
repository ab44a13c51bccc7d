package glanceapi

import (
	"fmt"
	"net/http"

	"github.com/hastack/hastack/internal/httpapi"
)

// lastMinor is the newest image API v2 minor version; unlike microversions
// they are not negotiated, a client only learns what to expect.
const lastMinor = 17

type versionView struct {
	ID     string     `json:"id"`
	Status string     `json:"status"`
	Links  []linkView `json:"links"`
}

type linkView struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

func (a *API) addVersionRoutes(r *httpapi.Router) {
	r.Handle("GET /{$}", httpapi.Public, http.StatusMultipleChoices, listVersions)
	r.Handle("GET /v2", httpapi.Public, http.StatusMultipleChoices, listVersions)
	r.Handle("GET /versions", httpapi.Public, http.StatusOK, listVersions)
}

func listVersions(r *httpapi.Request) (any, error) {
	var list []versionView
	for minor := lastMinor; minor >= 0; minor-- {
		switch minor { // never published
		case 8, 10, 12, 14:
			continue
		}
		v := versionView{ID: fmt.Sprintf("v2.%d", minor), Status: "SUPPORTED",
			Links: []linkView{{Rel: "self", Href: r.PublicURL() + "/v2/"}}}
		if minor == lastMinor {
			v.Status = "CURRENT"
		}
		list = append(list, v)
	}
	return map[string]any{"versions": list}, nil
}

func codeText(status int, title string) string { return fmt.Sprintf("%d %s", status, title) }
