package nova

import (
	"context"
	"crypto/ed25519"
	"crypto/md5" //nolint:gosec // fingerprints of ssh keys are MD5 in Nova's API, no secret rests on it
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"github.com/hastack/hastack/internal/fault"
)

// A Keypair is a public key of a user. A private key is made for the user once
// and never kept.
type Keypair struct {
	UserID      string `bun:",pk"`
	Name        string `bun:",pk"`
	Seq         int64
	Type        string // ssh or x509
	Fingerprint string
	PublicKey   string
	CreatedAt   time.Time
}

var keypairName = regexp.MustCompile(`^[a-zA-Z0-9 _@.-]{1,255}$`)

// maxPublicKey bounds an imported key, in bytes, as Nova does.
const maxPublicKey = 16 << 10

// CreateKeypair stores kp. Without a PublicKey it makes a pair and returns the
// private half, which exists nowhere else: ed25519 where the caller can take it
// (rsa says no), RSA 3072 for older clients.
func (s *Service) CreateKeypair(ctx context.Context, kp *Keypair, rsaKey bool) (private string, err error) {
	if !keypairName.MatchString(kp.Name) || blankEdges.MatchString(kp.Name) {
		return "", fault.New(fault.BadRequest, "Keypair data is invalid: Keypair name contains unsafe characters")
	}
	if kp.Type == "" {
		kp.Type = "ssh"
	}
	if kp.PublicKey == "" {
		if kp.Type != "ssh" {
			return "", fault.New(fault.BadRequest, "a key pair of type %s must be imported", kp.Type)
		}
		if private, kp.PublicKey, err = newKey(rsaKey); err != nil {
			return "", err
		}
	}
	if kp.Fingerprint, err = fingerprint(kp.Type, kp.PublicKey); err != nil {
		return "", err
	}
	kp.CreatedAt = s.clock.Now()
	return private, s.insertKeypair(ctx, kp)
}

func newKey(rsaKey bool) (private, public string, err error) {
	var block *pem.Block
	var signer ssh.PublicKey
	if rsaKey {
		key, err := rsa.GenerateKey(rand.Reader, 3072)
		if err != nil {
			return "", "", err
		}
		block = &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
		if signer, err = ssh.NewPublicKey(&key.PublicKey); err != nil {
			return "", "", err
		}
	} else {
		pub, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return "", "", err
		}
		if block, err = ssh.MarshalPrivateKey(key, ""); err != nil {
			return "", "", err
		}
		if signer, err = ssh.NewPublicKey(pub); err != nil {
			return "", "", err
		}
	}
	line := strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(signer)), "\n")
	return string(pem.EncodeToMemory(block)), line + " Generated-by-Nova", nil
}

// fingerprint checks a public key and returns the MD5 of its wire form (ssh)
// or the SHA-1-like MD5 of its certificate.
func fingerprint(kind, public string) (string, error) {
	bad := func(why string) (string, error) {
		return "", fault.New(fault.BadRequest, "Keypair data is invalid: failed to generate fingerprint: %s", why)
	}
	if len(public) > maxPublicKey || !utf8.ValidString(public) || strings.ContainsRune(public, 0) {
		return bad("the public key is too long or not text")
	}
	var raw []byte
	switch kind {
	case "ssh":
		// One line only: a second one would be another key for the guest.
		if strings.ContainsAny(strings.TrimSpace(public), "\r\n") {
			return bad("the public key has more than one line")
		}
		key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(public))
		if err != nil || len(rest) > 0 || len(options) > 0 {
			return bad("it is not an ssh public key")
		}
		raw = key.Marshal()
	case "x509":
		block, _ := pem.Decode([]byte(public))
		if block == nil {
			return bad("it is not a certificate in PEM")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return bad("it is not a certificate")
		}
		raw = cert.Raw
	default:
		return "", fault.New(fault.BadRequest, "keypair type %q is neither ssh nor x509", kind)
	}
	sum := md5.Sum(raw) //nolint:gosec // see the import
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = hex.EncodeToString([]byte{b})
	}
	return strings.Join(parts, ":"), nil
}

func keypairNotFound(name, user string) error {
	return fault.New(fault.NotFound, "Keypair %s not found for user %s", name, user)
}
