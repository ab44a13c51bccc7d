package firstday

import (
	"context"
	"fmt"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
	"github.com/gophercloud/gophercloud/v2/pagination"
)

const domainID = "default"

func (c *content) projects(ctx context.Context) error {
	var err error
	if c.admin, err = c.login(ctx, "admin", "admin", c.cfg.AdminPassword); err != nil {
		return err
	}
	sc, err := openstack.NewIdentityV3(c.admin, c.opts())
	if err != nil {
		return err
	}
	if c.projectID, err = ensureProject(ctx, sc); err != nil {
		return err
	}
	userID, err := c.ensureUser(ctx, sc)
	if err != nil {
		return err
	}
	roleID, err := findRole(ctx, sc, Role)
	if err != nil {
		return err
	}
	err = roles.Assign(ctx, sc, roleID, roles.AssignOpts{UserID: userID, ProjectID: c.projectID}).ExtractErr()
	if err != nil {
		return fmt.Errorf("give %s the role %s: %w", User, Role, err)
	}
	c.demo, err = c.login(ctx, User, Project, c.cfg.DemoPassword)
	return err
}

// all collects every page of a list.
func all[T any](ctx context.Context, pager pagination.Pager, extract func(pagination.Page) ([]T, error)) ([]T, error) {
	page, err := pager.AllPages(ctx)
	if err != nil {
		return nil, err
	}
	return extract(page)
}

func ensureProject(ctx context.Context, sc *gophercloud.ServiceClient) (string, error) {
	found, err := all(ctx, projects.List(sc, projects.ListOpts{Name: Project, DomainID: domainID}), projects.ExtractProjects)
	if err != nil || len(found) > 0 {
		return first(found, func(p projects.Project) string { return p.ID }), err
	}
	p, err := projects.Create(ctx, sc, projects.CreateOpts{Name: Project, DomainID: domainID}).Extract()
	if err != nil {
		return "", fmt.Errorf("create project %s: %w", Project, err)
	}
	return p.ID, nil
}

func first[T any](list []T, id func(T) string) string {
	if len(list) == 0 {
		return ""
	}
	return id(list[0])
}

func (c *content) ensureUser(ctx context.Context, sc *gophercloud.ServiceClient) (string, error) {
	found, err := all(ctx, users.List(sc, users.ListOpts{Name: User, DomainID: domainID}), users.ExtractUsers)
	if err != nil || len(found) > 0 {
		return first(found, func(u users.User) string { return u.ID }), err
	}
	u, err := users.Create(ctx, sc, users.CreateOpts{
		Name: User, DomainID: domainID, Password: c.cfg.DemoPassword.Reveal(), DefaultProjectID: c.projectID,
	}).Extract()
	if err != nil {
		return "", fmt.Errorf("create user %s: %w", User, err)
	}
	return u.ID, nil
}

func findRole(ctx context.Context, sc *gophercloud.ServiceClient, name string) (string, error) {
	found, err := all(ctx, roles.List(sc, roles.ListOpts{Name: name}), roles.ExtractRoles)
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("there is no role %s", name)
	}
	return found[0].ID, nil
}

// sizes are the flavors of a new cloud: name, id, vCPUs, MiB of memory, GiB of
// disk.
var sizes = [...]struct {
	name, id         string
	vcpus, ram, disk int
}{
	{"m1.nano", "42", 1, 128, 1},
	{"m1.micro", "84", 1, 192, 1},
	{"m1.tiny", "1", 1, 512, 1},
	{"m1.small", "2", 1, 2048, 20},
	{"m1.medium", "3", 2, 4096, 40},
	{"m1.large", "4", 4, 8192, 80},
}

func (c *content) flavors(ctx context.Context) error {
	sc, err := openstack.NewComputeV2(c.admin, c.opts())
	if err != nil {
		return err
	}
	found, err := all(ctx, flavors.ListDetail(sc, nil), flavors.ExtractFlavors)
	if err != nil {
		return err
	}
	have := map[string]bool{}
	for _, f := range found {
		have[f.Name] = true
	}
	for _, s := range sizes {
		if have[s.name] {
			continue
		}
		disk := s.disk
		_, err := flavors.Create(ctx, sc, flavors.CreateOpts{ID: s.id, Name: s.name, VCPUs: s.vcpus, RAM: s.ram, Disk: &disk}).Extract()
		if err != nil {
			return fmt.Errorf("create flavor %s: %w", s.name, err)
		}
	}
	return nil
}
