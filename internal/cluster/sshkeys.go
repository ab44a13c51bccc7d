package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/topology"
)

// defaultKeys are the user's keys that are tried when none is named.
var defaultKeys = [...]string{"id_ed25519", "id_ecdsa", "id_rsa"}

// auth are the keys to show, what they are called in an error, and what to
// close after the handshake.
func (d *Dir) auth() (methods []ssh.AuthMethod, tried string, done func(), err error) {
	done = func() {}
	file := d.Topology.SSH.Key
	if file == "" {
		file = d.SSHKey
	}
	if file != "" {
		signer, err := readKey(file)
		if err != nil {
			return nil, "", nil, err
		}
		return []ssh.AuthMethod{ssh.PublicKeys(signer)}, "the key " + file, done, nil
	}
	var names []string
	if sock := os.Getenv("SSH_AUTH_SOCK"); sock != "" {
		if conn, err := net.Dial("unix", sock); err == nil {
			done = func() { _ = conn.Close() }
			methods = append(methods, ssh.PublicKeysCallback(agent.NewClient(conn).Signers))
			names = append(names, "the agent's keys")
		}
	}
	var signers []ssh.Signer
	if home, err := os.UserHomeDir(); err == nil {
		for _, name := range defaultKeys {
			if s, err := readKey(filepath.Join(home, ".ssh", name)); err == nil {
				signers, names = append(signers, s), append(names, "~/.ssh/"+name)
			}
		}
	}
	if len(signers) > 0 {
		methods = append(methods, ssh.PublicKeys(signers...))
	}
	if len(methods) == 0 {
		return nil, "", nil, errors.New("there is no SSH key: name one (ssh.key in the topology), start an agent, or make one (ssh-keygen)")
	}
	return methods, strings.Join(names, ", "), done, nil
}

func readKey(file string) (ssh.Signer, error) {
	if rest, ok := strings.CutPrefix(file, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("SSH key %s: %w", file, err)
		}
		file = filepath.Join(home, rest)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("SSH key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(b)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		return nil, fmt.Errorf("SSH key %s has a passphrase: add it to an agent (ssh-add %s) and leave ssh.key empty", file, file)
	}
	if err != nil {
		return nil, fmt.Errorf("SSH key %s: %w", file, err)
	}
	return signer, nil
}

// hostKeyError is a server that shows another host key than the pinned one.
type hostKeyError struct{ server, file, have, want string }

func (e *hostKeyError) Error() string {
	return fmt.Sprintf("%s shows host key %s, pinned is %s: if it was installed anew, remove its line from %s; if not, somebody else answers in its place",
		e.server, e.have, e.want, e.file)
}

// hostKey is the check of a server's host key: equal to the pinned one, or
// pinned now. Keys are pinned by the server's name. algorithms limits the
// handshake to the pinned key's type; nil leaves it open.
func (d *Dir) hostKey(s *topology.Server) (check ssh.HostKeyCallback, algorithms []string, err error) {
	file := d.knownHosts()
	pinned, err := pinnedKey(file, s.Name)
	if err != nil {
		return nil, nil, err
	}
	if pinned != nil {
		algorithms = []string{pinned.Type()}
		if pinned.Type() == ssh.KeyAlgoRSA {
			algorithms = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
	}
	return func(_ string, _ net.Addr, key ssh.PublicKey) error {
		if pinned == nil {
			return d.pin(s.Name, key)
		}
		if !bytes.Equal(pinned.Marshal(), key.Marshal()) {
			return &hostKeyError{s.Name, file, ssh.FingerprintSHA256(key), ssh.FingerprintSHA256(pinned)}
		}
		return nil
	}, algorithms, nil
}

func (d *Dir) knownHosts() string {
	if d.KnownHosts != "" {
		return d.KnownHosts
	}
	return d.path("known_hosts")
}

// pinnedKey is the key in the file for a name, nil if there is none.
func pinnedKey(file, name string) (ssh.PublicKey, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read pinned host keys: %w", err)
	}
	for len(b) > 0 {
		_, hosts, key, _, rest, err := ssh.ParseKnownHosts(b)
		if err != nil {
			return nil, nil //nolint:nilerr // the end of the file
		}
		if slices.Contains(hosts, name) {
			return key, nil
		}
		b = rest
	}
	return nil, nil
}

// pin adds a server's key; servers may be pinned at the same time.
func (d *Dir) pin(name string, key ssh.PublicKey) error {
	unlock, err := d.flock("known_hosts.lock", true)
	if err != nil {
		return err
	}
	defer unlock()
	b, err := os.ReadFile(d.knownHosts())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("pin host key of %s: %w", name, err)
	}
	b = append(b, name+" "+string(ssh.MarshalAuthorizedKey(key))...)
	if err := config.WriteFile(d.knownHosts(), b, 0o600); err != nil {
		return fmt.Errorf("pin host key of %s: %w", name, err)
	}
	return nil
}
