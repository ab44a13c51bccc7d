package novaapi

import (
	"maps"
	"net/http"
	"slices"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/nova"
)

func (a *API) addServerSubRoutes() {
	const s = "/servers/{server_id}"
	a.get(s+"/metadata", pre+"server-metadata:index", a.listMetadata)
	a.post(s+"/metadata", pre+"server-metadata:create", http.StatusOK, a.createMetadata)
	a.put(s+"/metadata", pre+"server-metadata:update_all", a.replaceMetadata)
	a.get(s+"/metadata/{key}", pre+"server-metadata:show", a.showMetadata)
	a.put(s+"/metadata/{key}", pre+"server-metadata:update", a.setMetadata)
	a.del(s+"/metadata/{key}", pre+"server-metadata:delete", http.StatusNoContent, a.deleteMetadata)
	a.get(s+"/tags", pre+"os-server-tags:index", since(26, a.listTags))
	a.put(s+"/tags", pre+"os-server-tags:update_all", since(26, a.replaceTags))
	a.del(s+"/tags", pre+"os-server-tags:delete_all", http.StatusNoContent, since(26, a.deleteTags))
	a.Handle("GET /v2.1"+s+"/tags/{tag}", pre+"os-server-tags:show", http.StatusNoContent, since(26, a.checkTag))
	a.Handle("PUT /v2.1"+s+"/tags/{tag}", pre+"os-server-tags:update", http.StatusCreated, since(26, a.addTag))
	a.del(s+"/tags/{tag}", pre+"os-server-tags:delete", http.StatusNoContent, since(26, a.deleteTag))
	a.get(s+"/ips", pre+"ips:index", a.listIPs)
	a.get(s+"/ips/{label}", pre+"ips:show", a.showIPs)
	a.get(s+"/os-security-groups", pre+"os-security-groups:list", a.listServerGroups)
	a.get(s+"/topology", pre+"compute:server:topology:index", since(78, a.showTopology))
	a.get(s+"/os-server-password", pre+"os-server-password:show", a.showPassword)
	a.del(s+"/os-server-password", pre+"os-server-password:clear", http.StatusNoContent, a.clearPassword)
}

func (a *API) listMetadata(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	return viewMetadata(s.Metadata), nil
}

func viewMetadata(m map[string]string) map[string]any {
	if m == nil {
		m = map[string]string{}
	}
	return map[string]any{"metadata": m}
}

func (a *API) changeMetadata(r *httpapi.Request, key string, change func(m map[string]string) error) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	m, err := a.nova.SetMetadata(r.Context(), a.action(r, s), change)
	if err != nil {
		return nil, err
	}
	if key != "" {
		return map[string]any{"meta": map[string]string{key: m[key]}}, nil
	}
	return viewMetadata(m), nil
}

type metadataBody struct {
	Metadata *map[string]string `json:"metadata"`
}

func readMetadata(r *httpapi.Request) (map[string]string, error) {
	var in metadataBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Metadata == nil {
		return nil, fault.New(fault.BadRequest, "'metadata' is a required property")
	}
	return *in.Metadata, nil
}

func (a *API) createMetadata(r *httpapi.Request) (any, error) {
	return a.changeMetadata(r, "", func(m map[string]string) error {
		in, err := readMetadata(r)
		maps.Copy(m, in)
		return err
	})
}

func (a *API) replaceMetadata(r *httpapi.Request) (any, error) {
	return a.changeMetadata(r, "", func(m map[string]string) error {
		in, err := readMetadata(r)
		clear(m)
		maps.Copy(m, in)
		return err
	})
}

func (a *API) setMetadata(r *httpapi.Request) (any, error) {
	key := r.PathValue("key")
	return a.changeMetadata(r, key, func(m map[string]string) error {
		var in struct {
			Meta map[string]string `json:"meta"`
		}
		if err := r.Decode(&in); err != nil {
			return err
		}
		v, ok := in.Meta[key]
		if !ok || len(in.Meta) != 1 {
			return fault.New(fault.BadRequest, "Request body and URI mismatch")
		}
		m[key] = v
		return nil
	})
}

func (a *API) showMetadata(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	key := r.PathValue("key")
	v, ok := s.Metadata[key]
	if !ok {
		return nil, fault.New(fault.NotFound, "Metadata item was not found")
	}
	return map[string]any{"meta": map[string]string{key: v}}, nil
}

func (a *API) deleteMetadata(r *httpapi.Request) (any, error) {
	_, err := a.changeMetadata(r, "", func(m map[string]string) error {
		if _, ok := m[r.PathValue("key")]; !ok {
			return fault.New(fault.NotFound, "Metadata item was not found")
		}
		delete(m, r.PathValue("key"))
		return nil
	})
	return nil, err
}

func viewTags(tags []string) map[string]any {
	if tags == nil {
		tags = []string{}
	}
	return map[string]any{"tags": tags}
}

func (a *API) listTags(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	return viewTags(s.Tags), nil
}

func (a *API) changeTags(r *httpapi.Request, change func([]string) ([]string, error)) (*nova.Server, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	_, err = a.nova.SetTags(r.Context(), s, change)
	return s, err
}

func (a *API) replaceTags(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	var in struct {
		Tags *[]string `json:"tags"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Tags == nil {
		return nil, fault.New(fault.BadRequest, "'tags' is a required property")
	}
	tags, err := a.nova.SetTags(r.Context(), s, func([]string) ([]string, error) { return *in.Tags, nil })
	if err != nil {
		return nil, err
	}
	return viewTags(tags), nil
}

func (a *API) deleteTags(r *httpapi.Request) (any, error) {
	_, err := a.changeTags(r, func([]string) ([]string, error) { return nil, nil })
	return nil, err
}

func noTag(s *nova.Server, tag string) error {
	return fault.New(fault.NotFound, "Server %s has no tag '%.60s'", s.ID, tag)
}

func (a *API) checkTag(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(s.Tags, r.PathValue("tag")) {
		return nil, noTag(s, r.PathValue("tag"))
	}
	return nil, nil
}

func (a *API) addTag(r *httpapi.Request) (any, error) {
	tag, had := r.PathValue("tag"), false
	if err := nova.CheckTag(tag); err != nil {
		return nil, err
	}
	s, err := a.changeTags(r, func(tags []string) ([]string, error) {
		had = slices.Contains(tags, tag)
		return append(tags, tag), nil
	})
	if err != nil {
		return nil, err
	}
	if had {
		return httpapi.Response{Status: http.StatusNoContent}, nil
	}
	return httpapi.Response{Header: http.Header{"Location": {a.url + "/v2.1/servers/" + s.ID + "/tags/" + tag}}}, nil
}

func (a *API) deleteTag(r *httpapi.Request) (any, error) {
	tag := r.PathValue("tag")
	_, err := a.changeTags(r, func(tags []string) ([]string, error) {
		i := slices.Index(tags, tag)
		if i < 0 {
			return nil, fault.New(fault.NotFound, "Server %s has no tag '%.60s'", r.PathValue("server_id"), tag)
		}
		return slices.Delete(tags, i, i+1), nil
	})
	return nil, err
}

func (a *API) listIPs(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"addresses": plainAddresses(s)}, nil
}

func (a *API) showIPs(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	label := r.PathValue("label")
	list, ok := plainAddresses(s)[label]
	if !ok {
		return nil, fault.New(fault.NotFound, "Instance is not a member of specified network")
	}
	return map[string]any{label: list}, nil
}

func plainAddresses(s *nova.Server) map[string][]map[string]any {
	out := map[string][]map[string]any{}
	for _, v := range s.InfoCache {
		for _, sub := range v.Subnets {
			for _, addr := range sub.Addrs {
				out[v.NetworkName] = append(out[v.NetworkName], map[string]any{"addr": addr.IP, "version": sub.Version})
				for _, f := range addr.Floating {
					out[v.NetworkName] = append(out[v.NetworkName], map[string]any{"addr": f, "version": 4})
				}
			}
		}
	}
	return out
}

func (a *API) listServerGroups(r *httpapi.Request) (any, error) {
	s, err := a.server(r)
	if err != nil {
		return nil, err
	}
	groups, err := a.nova.ServerSecurityGroups(r.Context(), a.action(r, s))
	if err != nil {
		return nil, err
	}
	return map[string]any{"security_groups": viewSecurityGroups(groups)}, nil
}

// showTopology answers for servers without a NUMA topology of their own, which
// all are.
func (a *API) showTopology(r *httpapi.Request) (any, error) {
	if _, err := a.server(r); err != nil {
		return nil, err
	}
	return map[string]any{"nodes": []any{}, "pagesize_kb": nil}, nil
}

// showPassword answers that no guest has stored a password: no metadata service
// here takes one.
func (a *API) showPassword(r *httpapi.Request) (any, error) {
	if _, err := a.server(r); err != nil {
		return nil, err
	}
	return map[string]string{"password": ""}, nil
}

func (a *API) clearPassword(r *httpapi.Request) (any, error) {
	_, err := a.server(r)
	return nil, err
}
