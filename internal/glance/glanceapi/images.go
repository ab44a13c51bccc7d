package glanceapi

import (
	"mime"
	"net/http"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/glance"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/policy"
)

// viewer is the caller as the service knows it.
func viewer(r *httpapi.Request) glance.Viewer {
	id := r.Identity()
	if id == nil {
		return glance.Viewer{}
	}
	return glance.Viewer{ProjectID: id.ProjectID, Admin: r.Allowed("context_is_admin", nil)}
}

// target is what the rules may know of an image. The caller is its member
// exactly if it sees a shared image that it does not own.
func target(img *glance.Image, v glance.Viewer) policy.Target {
	t := policy.Target{"project_id": img.Owner, "owner": img.Owner, "visibility": img.Visibility, "image_id": img.ID}
	if img.Visibility == glance.Shared && img.Owner != v.ProjectID {
		t["member_id"] = v.ProjectID
	}
	return t
}

// image loads the image of the path, which the caller must see, and enforces
// the route's rule on it.
func (a *API) image(r *httpapi.Request) (*glance.Image, glance.Viewer, error) {
	v := viewer(r)
	img, err := a.glance.Image(r.Context(), v, r.PathValue("image_id"))
	if err != nil {
		return nil, v, err
	}
	return img, v, r.Enforce(target(img, v))
}

func (a *API) createImage(r *httpapi.Request) (any, error) {
	v := viewer(r)
	if err := r.Enforce(policy.Target{"project_id": v.ProjectID, "owner": v.ProjectID}); err != nil {
		return nil, err
	}
	var in map[string]any
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in == nil {
		return nil, fault.New(fault.BadRequest, "the request body must be an object")
	}
	img, err := readNewImage(in)
	if err != nil {
		return nil, err
	}
	if err := enforceVisibility(r, img, "", v); err != nil {
		return nil, err
	}
	if err := a.glance.CreateImage(r.Context(), v, img); err != nil {
		return nil, err
	}
	return httpapi.Response{Body: appendImage(nil, img), Header: http.Header{
		"Location":                       {r.PublicURL() + "/v2/images/" + img.ID},
		"Openstack-Image-Import-Methods": {"glance-direct,web-download"},
	}}, nil
}

func readNewImage(in map[string]any) (*glance.Image, error) {
	img := &glance.Image{}
	for name, value := range in {
		if name == "id" {
			id, ok := value.(string)
			if !ok || id == "" {
				return nil, fault.New(fault.BadRequest, "invalid value for attribute id: it is not a UUID")
			}
			img.ID = id
			continue
		}
		if err := glance.CheckSettable(name); err != nil {
			return nil, err
		}
		if err := img.Set(name, value); err != nil {
			return nil, err
		}
	}
	return img, nil
}

// enforceVisibility: making an image visible to everybody is a right of its own.
func enforceVisibility(r *httpapi.Request, img *glance.Image, before string, v glance.Viewer) error {
	owner := img.Owner
	if owner == "" {
		owner = v.ProjectID
	}
	t := policy.Target{"project_id": owner, "owner": owner, "visibility": img.Visibility}
	switch {
	case img.Visibility == before:
		return nil
	case img.Visibility == glance.Public:
		return r.EnforceRule("publicize_image", t)
	case img.Visibility == glance.Community:
		return r.EnforceRule("communitize_image", t)
	}
	return nil
}

func (a *API) showImage(r *httpapi.Request) (any, error) {
	img, _, err := a.image(r)
	if err != nil {
		return nil, err
	}
	return appendImage(nil, img), nil
}

func (a *API) updateImage(r *httpapi.Request) (any, error) {
	img, v, err := a.image(r)
	if err != nil {
		return nil, err
	}
	mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mt != patch20 && mt != patch21 {
		return nil, fault.New(fault.UnsupportedMedia, "content type %.80q is not supported; send %s or %s",
			r.Header.Get("Content-Type"), patch21, patch20)
	}
	body, err := r.ReadBody()
	if err != nil {
		return nil, err
	}
	changes, err := readPatch(body, mt)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		if word, ok := c.Value.(string); ok && c.Name == "visibility" {
			after := *img
			after.Visibility = word
			if err := enforceVisibility(r, &after, img.Visibility, v); err != nil {
				return nil, err
			}
		}
	}
	img, err = a.glance.UpdateImage(r.Context(), v, img.ID, changes)
	if err != nil {
		return nil, err
	}
	return appendImage(nil, img), nil
}

func (a *API) deleteImage(r *httpapi.Request) (any, error) {
	img, v, err := a.image(r)
	if err != nil {
		return nil, err
	}
	return nil, a.glance.DeleteImage(r.Context(), v, img.ID)
}

func (a *API) deactivateImage(r *httpapi.Request) (any, error) {
	img, _, err := a.image(r)
	if err != nil {
		return nil, err
	}
	return nil, a.glance.Deactivate(r.Context(), img)
}

func (a *API) reactivateImage(r *httpapi.Request) (any, error) {
	img, _, err := a.image(r)
	if err != nil {
		return nil, err
	}
	return nil, a.glance.Reactivate(r.Context(), img)
}

func (a *API) addTag(r *httpapi.Request) (any, error) {
	img, v, err := a.image(r)
	if err != nil {
		return nil, err
	}
	return nil, a.glance.AddTag(r.Context(), v, img.ID, r.PathValue("tag"))
}

func (a *API) removeTag(r *httpapi.Request) (any, error) {
	img, v, err := a.image(r)
	if err != nil {
		return nil, err
	}
	return nil, a.glance.RemoveTag(r.Context(), v, img.ID, r.PathValue("tag"))
}

type importBody struct {
	Method struct {
		Name string `json:"name"`
		URI  string `json:"uri"`
	} `json:"method"`
}

// importImage reads loosely, because every method has fields of its own.
func (a *API) importImage(r *httpapi.Request) (any, error) {
	img, _, err := a.image(r)
	if err != nil {
		return nil, err
	}
	var in importBody
	if err := r.DecodeLoose(&in); err != nil {
		return nil, err
	}
	switch in.Method.Name {
	case "glance-direct":
		return nil, a.glance.Import(r.Context(), img)
	case "web-download":
		return nil, a.glance.ImportFromWeb(r.Context(), img, in.Method.URI)
	case "copy-image", "glance-download":
		return nil, fault.New(fault.NotImplemented, "import method %s is not implemented", in.Method.Name)
	}
	return nil, fault.New(fault.BadRequest, "unknown import method name %.40q.", in.Method.Name)
}
