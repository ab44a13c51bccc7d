package neutronapi

import (
	"time"

	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/neutron"
	"github.com/hastack/hastack/internal/policy"
)

// standardView holds the attributes that every resource has.
type standardView struct {
	ID             string   `json:"id"`
	ProjectID      string   `json:"project_id"`
	TenantID       string   `json:"tenant_id"`
	Description    string   `json:"description"`
	Tags           []string `json:"tags"`
	RevisionNumber int64    `json:"revision_number"`
	CreatedAt      string   `json:"created_at"`
	UpdatedAt      string   `json:"updated_at"`
}

func viewStandard(s *neutron.Standard) standardView {
	return standardView{
		ID: s.ID, ProjectID: s.ProjectID, TenantID: s.ProjectID, Description: s.Description, Tags: list(s.Tags),
		RevisionNumber: s.RevisionNumber, CreatedAt: stamp(s.CreatedAt), UpdatedAt: stamp(s.UpdatedAt),
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// list is l, or an empty list in place of none: null is no list in JSON.
func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

// tags reads the tags that a resource may be created with.
func (f *form) tags(s *neutron.Standard) {
	var tags []string
	if !f.strings("tags", &tags) {
		return
	}
	if err := neutron.CheckTags(tags); err != nil {
		f.fail(err)
	}
	s.Tags = tags
}

// updateForm reads the body of an update of a resource that was found, and
// checks the rules: a change of what the caller may see but not change is
// Forbidden, not NotFound.
func (a *API) updateForm(r *httpapi.Request, name string, target policy.Target) (*form, error) {
	forms, _, err := a.forms(r, "update_"+name, name, "")
	if err != nil {
		return nil, err
	}
	f := forms[0]
	return f, f.enforce(target)
}
