package nova

import (
	"strings"
	"time"

	"github.com/hastack/hastack/internal/nova/rpc"
)

// A Server is a virtual machine of a project, from the request that asked for
// it to its deletion. Deleted servers stay as rows for the actions' history.
type Server struct {
	ID            string `bun:"id,pk"`
	Cell          string
	ProjectID     string
	UserID        string
	Name          string
	Hostname      string
	Description   string `bun:",nullzero"`
	ReservationID string // shared by the servers of one POST
	LaunchIndex   int
	VMState       string `bun:"vm_state"`
	TaskState     string `bun:",nullzero"` // "" when nothing is in flight
	PowerState    int
	Progress      int
	Host          string `bun:",nullzero"` // "" until the scheduler chose
	Node          string `bun:",nullzero"`
	AZ            string `bun:"az,nullzero"` // of the host once there is one
	ImageID       string `bun:",nullzero"`
	FlavorID      string
	GroupID       string `bun:",nullzero"`
	KeyName       string `bun:",nullzero"`
	KeyData       string `bun:",nullzero"` // public key as it was at the boot
	AccessIPv4    string `bun:"access_ip_v4,nullzero"`
	AccessIPv6    string `bun:"access_ip_v6,nullzero"`
	ConfigDrive   bool
	DiskConfig    string // AUTO or MANUAL
	RootDevice    string
	LockedBy      string `bun:",nullzero"` // "owner", "admin" or ""
	LockedReason  string `bun:",nullzero"`

	Flavor         rpc.Flavor // as it was at the boot
	Metadata       map[string]string
	Tags           []string // sorted; server_tags is their index
	SecurityGroups []string // names as the user gave them
	InfoCache      []rpc.VIF
	// Addresses is InfoCache as the API shows it, prepared when it changes:
	// lists read this column and not the other.
	Addresses Addresses
	Spec      BootSpec
	Fault     *Fault
	UserData  string `bun:",nullzero"` // base64, as given

	// OpID is the operation in flight. Every change by an operation compares
	// it, so that one that lost its turn changes nothing.
	OpID     string `bun:"op_id,nullzero"`
	ActionID string `bun:",nullzero"` // server_actions row of OpID
	// Outcome is what a host said when its part of OpID went wrong; the
	// operation reads it and decides.
	Outcome *Outcome
	// Cleanup is set on a deleted server whose host was not there to remove
	// what it has of it, until the host says that it did.
	Cleanup bool

	CreatedAt    time.Time
	UpdatedAt    time.Time
	LaunchedAt   time.Time `bun:",nullzero"`
	TerminatedAt time.Time `bun:",nullzero"`
	DeletedAt    time.Time `bun:",nullzero"`
}

// A BootSpec is what was asked for and is read again only by a boot, a rebuild
// or the metadata service.
type BootSpec struct {
	Image      rpc.Image              `json:"image"`
	Networks   []rpc.RequestedNetwork `json:"networks,omitempty"`
	NoNetworks bool                   `json:"no_networks,omitempty"`
	Files      []rpc.File             `json:"files,omitempty"`
	KeyType    string                 `json:"key_type,omitempty"`
	Zone       string                 `json:"zone,omitempty"` // asked for, "" for any
	ForceHost  string                 `json:"force_host,omitempty"`
	ForceNode  string                 `json:"force_node,omitempty"`
	Hints      map[string][]string    `json:"hints,omitempty"`
	RequestID  string                 `json:"request_id,omitempty"`
}

// A Fault is why a server is in ERROR, or why its last action went wrong.
type Fault struct {
	Code    int       `json:"code"`
	Message string    `json:"message"`           // for the owner
	Details string    `json:"details,omitempty"` // for administrators
	Created time.Time `json:"created"`
}

// An Outcome is how a host's part of an operation ended, where the operation has
// more to do.
type Outcome struct {
	Host    string `json:"host"`
	VMState string `json:"vm_state,omitempty"` // what the server is now, "" unchanged
	Deleted bool   `json:"deleted,omitempty"`
	Fault   Fault  `json:"fault"` // Code 0 if there is none
}

// Locked tells whether an action by the owner must be refused.
func (s *Server) Locked() bool { return s.LockedBy != "" }

// InstanceName is the hypervisor's name of the server.
func (s *Server) InstanceName() string {
	return "instance-" + strings.ReplaceAll(s.ID, "-", "")[:8]
}

// rpcSpec is what a host is told about the server.
func (s *Server) rpcSpec(userData []byte) *rpc.ServerSpec {
	spec := &rpc.ServerSpec{
		ID: s.ID, OpID: s.OpID, InstanceName: s.InstanceName(), Name: s.Name, Hostname: s.Hostname,
		ProjectID: s.ProjectID, UserID: s.UserID, RequestID: s.Spec.RequestID, ReservationID: s.ReservationID,
		LaunchIndex: s.LaunchIndex, Host: s.Host, AvailabilityZone: s.AZ,
		VMState: s.VMState, TaskState: s.TaskState, PowerState: s.PowerState,
		Flavor: s.Flavor, Image: s.Spec.Image, UserData: userData,
		Key:      rpc.Key{Name: s.KeyName, Type: s.Spec.KeyType, PublicKey: s.KeyData},
		Metadata: s.Metadata, Tags: s.Tags, Files: s.Spec.Files, ConfigDrive: s.ConfigDrive,
		NoNetworks: s.Spec.NoNetworks, Requested: s.Spec.Networks, SecurityGroups: s.SecurityGroups,
		Networks: s.InfoCache, CreatedAt: s.CreatedAt,
	}
	if !s.LaunchedAt.IsZero() {
		at := s.LaunchedAt
		spec.LaunchedAt = &at
	}
	return spec
}
