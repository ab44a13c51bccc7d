package keystonetest

import "net/http"

// M is short for a JSON object.
type M = map[string]any

// PasswordAuth is the body of a login with a password; scope may be nil.
func PasswordAuth(user, password string, scope any) M {
	auth := M{"identity": M{"methods": []string{"password"}, "password": M{"user": M{
		"name": user, "domain": M{"id": "default"}, "password": password,
	}}}}
	if scope != nil {
		auth["scope"] = scope
	}
	return M{"auth": auth}
}

// TokenAuth is the body of a login with a token; scope may be nil.
func TokenAuth(token string, scope any) M {
	auth := M{"identity": M{"methods": []string{"token"}, "token": M{"id": token}}}
	if scope != nil {
		auth["scope"] = scope
	}
	return M{"auth": auth}
}

// ProjectScope, DomainScope and SystemScope are scopes of a login.
func ProjectScope(id string) M { return M{"project": M{"id": id}} }

// ProjectNamed is a scope by the name of a project of the default domain.
func ProjectNamed(name string) M {
	return M{"project": M{"name": name, "domain": M{"id": "default"}}}
}

// DomainScope is the scope of a domain.
func DomainScope(id string) M { return M{"domain": M{"id": id}} }

// SystemScope is the scope of the system.
func SystemScope() M { return M{"system": M{"all": true}} }

// Token logs in with a password and returns the token.
func (s *Server) Token(user, password string, scope any) string {
	s.T.Helper()
	return s.Must(http.StatusCreated, "POST", "/auth/tokens", "", PasswordAuth(user, password, scope)).Header.Get("X-Subject-Token")
}

// Admin is a token of the admin on project admin.
func (s *Server) Admin() string { return s.Token("admin", AdminPassword, ProjectNamed("admin")) }

// ServiceToken is a token of service user nova.
func (s *Server) ServiceToken() string {
	return s.Token("nova", ServicePassword, ProjectNamed("service"))
}

// Validate asks, as service user nova, about a token.
func (s *Server) Validate(token string) *Reply {
	s.T.Helper()
	return s.Do("GET", "/auth/tokens", s.ServiceToken(), nil, "X-Subject-Token", token)
}

// A Member is a user with a role on a project of their own.
type Member struct{ UserID, Name, Password, ProjectID, RoleID, Token string }

// Member makes a user and a project in the default domain, gives the user the
// role on it and logs in.
func (s *Server) Member(name, role string) Member {
	s.T.Helper()
	admin := s.Admin()
	m := Member{Name: name, Password: "password-of-" + name, RoleID: s.RoleID(role)}
	m.ProjectID = s.Must(http.StatusCreated, "POST", "/projects", admin, M{"project": M{"name": name + "-project"}}).String("project", "id")
	m.UserID = s.Must(http.StatusCreated, "POST", "/users", admin, M{"user": M{"name": name, "password": m.Password}}).String("user", "id")
	s.Must(http.StatusNoContent, "PUT", "/projects/"+m.ProjectID+"/users/"+m.UserID+"/roles/"+m.RoleID, admin, nil)
	m.Token = s.Token(name, m.Password, ProjectScope(m.ProjectID))
	return m
}

// RoleID finds a global role by name.
func (s *Server) RoleID(name string) string {
	s.T.Helper()
	roles := s.Must(http.StatusOK, "GET", "/roles?name="+name, s.Admin(), nil).List("roles")
	if len(roles) != 1 {
		s.T.Fatalf("%d roles have the name %s", len(roles), name)
	}
	return roles[0]["id"].(string)
}
