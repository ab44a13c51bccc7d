package nova

import (
	"context"
	"fmt"
	"time"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/operation"
)

// A newBoot is all rows that one POST /servers makes, in one transaction.
type newBoot struct {
	servers []*Server
	actions []*Action
	spans   [][]rpc.Step
	ops     []*operation.Op
	limits  map[string]int64
	group   *ServerGroup
	key     string // Idempotency-Key
	hash    string // of the request, to tell a repeat from a misuse
}

// CreateServers makes the servers' records and starts their boots. When it
// returns, the servers are durable: whatever dies afterwards, each becomes
// ACTIVE or ERROR. A repeat with the same IdempotencyKey returns the servers
// of the first request.
func (s *Service) CreateServers(ctx context.Context, id *authtoken.Identity, in *ServerRequest) ([]*Server, error) {
	arrived := s.clock.Now()
	if err := in.check(); err != nil {
		return nil, err
	}
	hash := requestHash(in)
	if in.IdempotencyKey != "" {
		if done, err := s.repeated(ctx, id.ProjectID, in.IdempotencyKey, hash); done != nil || err != nil {
			return done, err
		}
	}
	if err := BootPoint(ctx, 6, BeforeEffect); err != nil {
		return nil, err
	}
	nb, err := s.prepare(ctx, id, in)
	if err != nil {
		return nil, err
	}
	if err := BootPoint(ctx, 6, AfterEffect); err != nil {
		return nil, err
	}
	nb.key, nb.hash = in.IdempotencyKey, hash
	for i := range nb.servers {
		nb.spans[i] = requestSteps(id, arrived, s.clock.Now())
	}
	if err := BootPoint(ctx, 7, BeforeEffect); err != nil {
		return nil, err
	}
	err = s.insertBoot(ctx, nb)
	if db.IsDuplicate(err) && in.IdempotencyKey != "" {
		if done, err := s.repeated(ctx, id.ProjectID, in.IdempotencyKey, hash); done != nil || err != nil {
			return done, err
		}
		err = s.insertBoot(ctx, nb) // the key has gone again
	}
	if err != nil {
		return nil, err
	}
	if err := BootPoint(ctx, 7, AfterEffect); err != nil {
		return nil, err
	}
	s.launch(ctx, nb.ops...)
	return nb.servers, recordedSteps(ctx, 3, 7)
}

// prepare looks up everything the request names and makes the rows.
func (s *Service) prepare(ctx context.Context, id *authtoken.Identity, in *ServerRequest) (*newBoot, error) {
	f, err := s.Flavor(ctx, in.FlavorID, id.ProjectID, id.IsAdmin())
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.BadRequest, "Flavor %s could not be found.", in.FlavorID)
	}
	if err != nil {
		return nil, err
	}
	if f.Disabled {
		return nil, fault.New(fault.BadRequest, "Flavor %s is disabled.", in.FlavorID)
	}
	img, err := s.image(ctx, id, in.ImageID)
	if err != nil {
		return nil, err
	}
	if err := img.fits(f); err != nil {
		return nil, err
	}
	nb := &newBoot{}
	var key *Keypair
	if in.KeyName != "" {
		if key, err = s.Keypair(ctx, id.UserID, in.KeyName); err != nil {
			if fault.Is(err, fault.NotFound) {
				err = fault.New(fault.BadRequest, "Invalid key_name provided.")
			}
			return nil, err
		}
	}
	if nb.group, err = s.hintedGroup(ctx, id, in); err != nil {
		return nil, err
	}
	if err := s.checkZone(ctx, in); err != nil {
		return nil, err
	}
	if err := s.checkNetworks(ctx, id, in); err != nil {
		return nil, err
	}
	if nb.limits, err = s.Limits(ctx, id.ProjectID, id.UserID); err != nil {
		return nil, err
	}
	if n := nb.limits[ResourceMetadata]; n >= 0 && int64(len(in.Metadata)) > n {
		return nil, fault.New(fault.Forbidden, "Maximum number of metadata items exceeds %d", n)
	}
	s.makeRows(id, in, nb, f, img, key)
	return nb, nil
}

func (s *Service) makeRows(id *authtoken.Identity, in *ServerRequest, nb *newBoot, f *Flavor, img *imageInfo, key *Keypair) {
	now := s.clock.Now()
	reservation := "r-" + ids.Hex()[:8]
	for i := range in.MaxCount {
		srv := &Server{
			ID: ids.UUID(), Cell: s.cfg.Cell, ProjectID: id.ProjectID, UserID: id.UserID,
			Name: in.Name, Hostname: in.Hostname, Description: in.Description,
			ReservationID: reservation, LaunchIndex: i,
			VMState: Building, TaskState: TaskScheduling,
			ImageID: img.ID, FlavorID: f.ID, ConfigDrive: in.ConfigDrive, DiskConfig: in.DiskConfig,
			AccessIPv4: in.AccessIPv4, AccessIPv6: in.AccessIPv6, RootDevice: "/dev/vda",
			Flavor: f.snapshot(), Metadata: in.Metadata, Tags: in.Tags, SecurityGroups: in.SecurityGroups,
			UserData: in.UserData, Addresses: "{}", CreatedAt: now, UpdatedAt: now, ActionID: ids.UUID(),
			Spec: BootSpec{Image: img.snapshot(), Networks: in.Networks, NoNetworks: in.NoNetworks, Files: in.Files,
				Zone: in.Zone, ForceHost: in.ForceHost, ForceNode: in.ForceNode, Hints: in.Hints, RequestID: in.RequestID},
		}
		if in.MaxCount > 1 {
			srv.Name = fmt.Sprintf("%s-%d", in.Name, i+1)
		}
		if srv.Hostname == "" {
			srv.Hostname = hostnameOf(srv.Name, srv.ID)
		}
		if srv.Metadata == nil {
			srv.Metadata = map[string]string{}
		}
		if len(srv.SecurityGroups) == 0 && !in.NoNetworks {
			srv.SecurityGroups = []string{"default"}
		}
		if nb.group != nil {
			srv.GroupID = nb.group.ID
		}
		if key != nil {
			srv.KeyName, srv.KeyData, srv.Spec.KeyType = key.Name, key.PublicKey, key.Type
		}
		nb.servers = append(nb.servers, srv)
		nb.spans = append(nb.spans, nil)
		nb.actions = append(nb.actions, newAction(srv, id, ActionCreate, in.RequestID, now))
	}
}

// requestSteps are the steps 1 to 7 of a boot, which happened before its
// record exists. 1 and 2 are known from the token, so they may be long past.
func requestSteps(id *authtoken.Identity, arrived, now time.Time) []rpc.Step {
	started, detail := id.TokenRequestedAt, ""
	if started.IsZero() {
		started, detail = id.IssuedAt, "how long it took is not known any more"
	}
	checked, checkDetail := id.CheckedAt, ""
	if checked.IsZero() {
		checked = arrived
	}
	if checked.Before(arrived.Add(-time.Millisecond)) {
		checkDetail = "validated moments before, remembered"
	}
	const api = "nova-api"
	return []rpc.Step{
		{N: 1, Name: "authenticate", Actor: "client", Peer: "keystone", Protocol: rpc.ProtoHTTP, Start: started, Duration: id.TokenVerified, Outcome: rpc.OutcomeOK, Detail: detail},
		{N: 2, Name: "verify and issue the token", Actor: "keystone", Peer: "keystone", Protocol: rpc.ProtoNative, Start: started, Duration: id.TokenVerified, Outcome: rpc.OutcomeOK, Detail: detail},
		{N: 3, Name: "POST /servers", Actor: "client", Peer: api, Protocol: rpc.ProtoHTTP, Start: arrived, Duration: now.Sub(arrived), Outcome: rpc.OutcomeOK},
		{N: 4, Name: "is the token valid", Actor: api, Peer: "keystone", Protocol: rpc.ProtoHTTP, Start: checked, Duration: id.CheckTook, Outcome: rpc.OutcomeOK, Detail: checkDetail},
		{N: 5, Name: "user, roles and rights", Actor: "keystone", Peer: api, Protocol: rpc.ProtoHTTP, Start: checked.Add(id.CheckTook), Outcome: rpc.OutcomeOK},
		{N: 6, Name: "check the request and the quota", Actor: api, Peer: "nova database", Protocol: rpc.ProtoSQL, Start: arrived, Duration: now.Sub(arrived), Outcome: rpc.OutcomeOK},
		{N: 7, Name: "record the server", Actor: "nova database", Peer: api, Protocol: rpc.ProtoSQL, Start: now, Outcome: rpc.OutcomeOK},
	}
}
