package glanceapi

import (
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/glance"
	"github.com/hastack/hastack/internal/httpapi"
)

type membersView struct {
	Members []memberView `json:"members"`
	Schema  string       `json:"schema"`
}

type newMemberBody struct {
	Member string `json:"member"`
}

type memberStatusBody struct {
	Status string `json:"status"`
}

func (a *API) listMembers(r *httpapi.Request) (any, error) {
	img, v, err := a.image(r)
	if err != nil {
		return nil, err
	}
	list, err := a.glance.Members(r.Context(), v, img)
	if err != nil {
		return nil, err
	}
	out := membersView{Members: []memberView{}, Schema: "/v2/schemas/members"}
	for i := range list {
		out.Members = append(out.Members, viewMember(&list[i]))
	}
	return out, nil
}

func (a *API) addMember(r *httpapi.Request) (any, error) {
	img, _, err := a.image(r)
	if err != nil {
		return nil, err
	}
	var in newMemberBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	m, err := a.glance.AddMember(r.Context(), img, in.Member)
	if err != nil {
		return nil, err
	}
	return viewMember(m), nil
}

// imageOfMember is image with the member of the path in the rule's target.
func (a *API) imageOfMember(r *httpapi.Request) (*glance.Image, string, error) {
	v := viewer(r)
	img, err := a.glance.Image(r.Context(), v, r.PathValue("image_id"))
	if err != nil {
		return nil, "", err
	}
	member := r.PathValue("member_id")
	t := target(img, v)
	t["member_id"] = member
	return img, member, r.Enforce(t)
}

func (a *API) showMember(r *httpapi.Request) (any, error) {
	img, member, err := a.imageOfMember(r)
	if fault.Is(err, fault.Forbidden) {
		// Who else was offered the image is not for other members to know.
		return nil, fault.New(fault.NotFound, "%.64s not found in the member list of the image %.64s.",
			r.PathValue("member_id"), r.PathValue("image_id"))
	}
	if err != nil {
		return nil, err
	}
	m, err := a.glance.Member(r.Context(), img, member)
	if err != nil {
		return nil, err
	}
	return viewMember(m), nil
}

func (a *API) updateMember(r *httpapi.Request) (any, error) {
	img, member, err := a.imageOfMember(r)
	if err != nil {
		return nil, err
	}
	var in memberStatusBody
	// openstacksdk sends the member beside the status; Glance ignores it.
	if err := r.DecodeLoose(&in); err != nil {
		return nil, err
	}
	m, err := a.glance.SetMemberStatus(r.Context(), img, member, in.Status)
	if err != nil {
		return nil, err
	}
	return viewMember(m), nil
}

func (a *API) removeMember(r *httpapi.Request) (any, error) {
	img, member, err := a.imageOfMember(r)
	if err != nil {
		return nil, err
	}
	return nil, a.glance.RemoveMember(r.Context(), img, member)
}
