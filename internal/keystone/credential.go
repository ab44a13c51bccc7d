package keystone

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// credentialEC2 is the type whose blob holds an access key and its secret.
const credentialEC2 = "ec2"

// A Credential is a secret of a user for some other system. Blob is encrypted
// in the database.
type Credential struct {
	ID            string `bun:"id,pk"`
	UserID        string
	ProjectID     string `bun:",nullzero"`
	Type          string
	EncryptedBlob string
	Extra         Extra
	CreatedAt     time.Time
	Blob          config.Secret `bun:"-"`
}

// ec2Blob is the content of an EC2 credential. AppCredID ties it to the
// application credential that made it, whose roles are then its roles too.
type ec2Blob struct {
	Access    string  `json:"access"`
	Secret    string  `json:"secret"`
	TrustID   *string `json:"trust_id"`
	AppCredID string  `json:"app_cred_id,omitempty"`
}

// CreateCredential adds c for c.UserID. An EC2 credential takes its id from its
// access key and is bound to the caller's application credential, if any.
func (s *Service) CreateCredential(ctx context.Context, caller *authtoken.Identity, c *Credential) error {
	if err := RefuseRestricted(caller); err != nil {
		return err
	}
	if c.Type == "" || len(c.Type) > 255 {
		return fault.New(fault.BadRequest, "credential type must have 1 to 255 characters")
	}
	if _, err := s.selectUser(ctx, c.UserID); err != nil {
		return asBadRequest(err)
	}
	c.ID, c.CreatedAt = ids.Hex(), s.clock.Now()
	if c.Type == credentialEC2 {
		if c.ProjectID == "" {
			return fault.New(fault.BadRequest, "an ec2 credential needs a project_id")
		}
		blob, err := readEC2Blob(c.Blob)
		if err != nil {
			return err
		}
		if err := bindToCaller(caller, c, &blob); err != nil {
			return err
		}
		c.ID = ec2ID(blob.Access)
		if blob.AppCredID != "" { // else the text stays as the client wrote it
			c.Blob = blob.text()
		}
	}
	if c.ProjectID != "" {
		if _, err := s.selectProjectRow(ctx, c.ProjectID); err != nil {
			return asBadRequest(err)
		}
	}
	if err := s.sealBlob(ctx, c); err != nil {
		return err
	}
	return s.insertCredential(ctx, c)
}

// bindToCaller keeps a credential from being wider than the token that makes
// it (OSSA-2020-004, OSSA-2026-005).
func bindToCaller(caller *authtoken.Identity, c *Credential, blob *ec2Blob) error {
	if blob.TrustID != nil {
		return fault.New(fault.NotImplemented, "trusts are not implemented")
	}
	if blob.AppCredID != "" && blob.AppCredID != caller.AppCredID {
		return fault.New(fault.Forbidden, "app_cred_id is not the caller's application credential")
	}
	if caller.AppCredID != "" {
		if c.UserID != caller.UserID || c.ProjectID != caller.ProjectID {
			return fault.New(fault.Forbidden, "an application credential makes credentials for its own user and project only")
		}
		blob.AppCredID = caller.AppCredID
	}
	return nil
}

func readEC2Blob(text config.Secret) (ec2Blob, error) {
	var b ec2Blob
	if json.Unmarshal([]byte(text.Reveal()), &b) != nil || b.Access == "" || b.Secret == "" {
		return b, fault.New(fault.BadRequest, "the blob of an ec2 credential must be a JSON object with access and secret")
	}
	return b, nil
}

func (b ec2Blob) text() config.Secret {
	text, _ := json.Marshal(b) // strings only: cannot fail
	return config.NewSecret(string(text))
}

// ec2ID is the id of the credential with that access key.
func ec2ID(access string) string {
	sum := sha256.Sum256([]byte(access))
	return hex.EncodeToString(sum[:])
}

func (s *Service) sealBlob(ctx context.Context, c *Credential) (err error) {
	c.EncryptedBlob, err = s.credentialKeys.seal(ctx, []byte(c.Blob.Reveal()))
	return err
}

func (s *Service) openBlob(ctx context.Context, c *Credential) error {
	blob, err := s.credentialKeys.open(ctx, c.EncryptedBlob)
	if err != nil {
		return err
	}
	if blob == nil {
		return fault.New(fault.Internal, "credential %s was encrypted by a key that is gone", c.ID)
	}
	c.Blob = config.NewSecret(string(blob))
	return nil
}

// Credential finds a credential by id.
func (s *Service) Credential(ctx context.Context, id string) (*Credential, error) {
	c, err := s.selectCredential(ctx, id)
	if err != nil {
		return nil, err
	}
	return c, s.openBlob(ctx, c)
}

// Credentials lists credentials; they can be filtered by user_id, project_id
// and type.
func (s *Service) Credentials(ctx context.Context, f Filter) ([]Credential, error) {
	rows, err := s.selectCredentials(ctx, f)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if err := s.openBlob(ctx, &rows[i]); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// A CredentialUpdate holds what is to change; nil keeps. The owner, the
// project and what binds the blob to them never change.
type CredentialUpdate struct {
	UserID, ProjectID, Type *string
	Blob                    *config.Secret
	Extra                   Extra
}

// UpdateCredential changes a credential.
func (s *Service) UpdateCredential(ctx context.Context, caller *authtoken.Identity, id string, up CredentialUpdate) (*Credential, error) {
	if err := RefuseRestricted(caller); err != nil {
		return nil, err
	}
	c, err := s.Credential(ctx, id)
	if err != nil {
		return nil, err
	}
	if up.UserID != nil && *up.UserID != c.UserID || up.ProjectID != nil && *up.ProjectID != c.ProjectID {
		return nil, fault.New(fault.Forbidden, "the user and the project of a credential cannot be changed")
	}
	var cols []string
	if up.Type != nil && *up.Type != c.Type {
		if c.Type == credentialEC2 || *up.Type == credentialEC2 {
			return nil, fault.New(fault.BadRequest, "the type of a credential cannot be changed from or to ec2")
		}
		c.Type, cols = *up.Type, append(cols, "type")
	}
	if up.Blob != nil {
		if c.Type == credentialEC2 {
			if err := sameBinding(c.Blob, *up.Blob); err != nil {
				return nil, err
			}
		}
		c.Blob = *up.Blob
		if err := s.sealBlob(ctx, c); err != nil {
			return nil, err
		}
		cols = append(cols, "encrypted_blob")
	}
	if c.Extra.merge(up.Extra) {
		cols = append(cols, "extra")
	}
	return c, s.updateCredential(ctx, c, cols)
}

// sameBinding refuses a new blob that is another key or another delegation.
func sameBinding(old, new config.Secret) error {
	was, err := readEC2Blob(old)
	if err != nil {
		return err
	}
	is, err := readEC2Blob(new)
	if err != nil {
		return err
	}
	if is.Access != was.Access || is.AppCredID != was.AppCredID || (is.TrustID == nil) != (was.TrustID == nil) {
		return fault.New(fault.BadRequest, "access, trust_id and app_cred_id of an ec2 credential cannot be changed")
	}
	return nil
}

// DeleteCredential removes a credential.
func (s *Service) DeleteCredential(ctx context.Context, id string) error {
	return s.deleteCredential(ctx, id)
}

// An EC2Key is an EC2 credential as its own API shows it.
type EC2Key struct {
	Access, UserID, ProjectID string
	Secret                    config.Secret
}

// CreateEC2Key makes an access key and secret for a user and a project. The
// caller must have a role on the project if they are that user.
func (s *Service) CreateEC2Key(ctx context.Context, caller *authtoken.Identity, userID, projectID string) (*EC2Key, error) {
	k := &EC2Key{Access: ids.Hex(), UserID: userID, ProjectID: projectID, Secret: config.NewSecret(ids.Secret(16))}
	if _, err := s.selectUser(ctx, userID); err != nil {
		return nil, err
	}
	p, err := s.selectProjectRow(ctx, projectID)
	if err != nil {
		return nil, err
	}
	snap, err := s.view(ctx)
	if err != nil {
		return nil, err
	}
	if roles, err := s.projectRoles(ctx, snap, userID, p); err != nil {
		return nil, err
	} else if len(roles) == 0 {
		return nil, fault.New(fault.Forbidden, "user %s has no role on project %s", userID, projectID)
	}
	c := &Credential{UserID: userID, ProjectID: projectID, Type: credentialEC2, Blob: ec2Blob{Access: k.Access, Secret: k.Secret.Reveal()}.text()}
	return k, s.CreateCredential(ctx, caller, c)
}

// EC2Key finds a user's key by its access key.
func (s *Service) EC2Key(ctx context.Context, userID, access string) (*EC2Key, error) {
	c, err := s.Credential(ctx, ec2ID(access))
	if err != nil || c.Type != credentialEC2 || c.UserID != userID {
		if err == nil || fault.Is(err, fault.NotFound) {
			err = fault.New(fault.NotFound, "could not find credential: %s", access)
		}
		return nil, err
	}
	return ec2KeyOf(c)
}

func ec2KeyOf(c *Credential) (*EC2Key, error) {
	b, err := readEC2Blob(c.Blob)
	return &EC2Key{Access: b.Access, UserID: c.UserID, ProjectID: c.ProjectID, Secret: config.NewSecret(b.Secret)}, err
}

// EC2Keys lists a user's keys.
func (s *Service) EC2Keys(ctx context.Context, userID string) ([]EC2Key, error) {
	rows, err := s.Credentials(ctx, By("user_id", userID).With("type", credentialEC2))
	if err != nil {
		return nil, err
	}
	out := make([]EC2Key, 0, len(rows))
	for i := range rows {
		k, err := ec2KeyOf(&rows[i])
		if err != nil {
			return nil, err
		}
		out = append(out, *k)
	}
	return out, nil
}

// DeleteEC2Key removes a user's key.
func (s *Service) DeleteEC2Key(ctx context.Context, userID, access string) error {
	if _, err := s.EC2Key(ctx, userID, access); err != nil {
		return err
	}
	return s.deleteCredential(ctx, ec2ID(access))
}
