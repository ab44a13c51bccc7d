// Package clustertest gives tests servers to deploy to: SSH servers in the
// test's process, on addresses of the loopback network, that run the scripts
// they are sent with sh. What a script does to a server happens in a directory
// (HASTACK_DEPLOY_ROOT) and to stand-ins of systemctl, apt-get and the like,
// which note what they were asked for. Start with [New].
package clustertest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/topology"
)

// A Fleet is the servers of one topology.
type Fleet struct {
	Topology *topology.Topology
	// Key is the file of the operator's private key.
	Key     string
	Servers map[string]*Server

	tools string
}

// A Server is one machine of the fleet.
type Server struct {
	Name string
	// Root is the directory that scripts see as /.
	Root string
	// Broken units do not start.
	Broken map[string]bool

	fleet    *Fleet
	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	hostKey  ssh.Signer
	allowed  ssh.PublicKey
	cut      int // bytes until the connection is cut, 0 for never
}

// three is three servers that do everything.
const three = `
name: c1
domain: c1.example
allow_colocation: true
networks:
  management: {cidr: 10.3.0.0/24, device: test0, switches: [a, b]}
  external: {cidr: 203.0.113.0/24, device: test1, switches: [a, b], gateway: 203.0.113.1, floating: 203.0.113.128-203.0.113.250}
  tunnel: {cidr: 10.4.0.0/24, device: test2, switches: [a, b]}
switches: [{name: a, peer: b}, {name: b, peer: a}]
servers:
  - {name: node01, host: 11, roles: [control, network, compute, load-balancer]}
  - {name: node02, host: 12, roles: [control, network, compute, load-balancer]}
  - {name: node03, host: 13, roles: [control, network, compute, load-balancer]}
vips:
  - {name: api, network: management, address: 10.3.0.100}
  - {name: public, network: external, address: 203.0.113.100}
`

// Topology is three servers, node01 to node03, whose management network is
// the loopback one: 127.0.0.11 to 127.0.0.13.
func Topology(t *testing.T, port int) *topology.Topology {
	t.Helper()
	top, err := topology.Parse("three", []byte(three))
	must(t, err)
	top.SSH.Port = port
	top.Networks[topology.Management].CIDR = netip.MustParsePrefix("127.0.0.0/24")
	top.VIP("api").Address = netip.MustParseAddr("127.0.0.100")
	return top
}

// New starts the servers of [Topology].
func New(t *testing.T) *Fleet {
	t.Helper()
	dir := t.TempDir()
	f := &Fleet{Key: filepath.Join(dir, "key"), Servers: map[string]*Server{}, tools: filepath.Join(dir, "tools")}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	must(t, err)
	must(t, os.WriteFile(f.Key, pem.EncodeToMemory(block), 0o600))
	allowed, err := ssh.NewPublicKey(public)
	must(t, err)
	writeTools(t, f.tools)
	f.Topology = Topology(t, freePort(t))
	for _, s := range f.Topology.Servers {
		srv := &Server{Name: s.Name, Root: filepath.Join(dir, s.Name), Broken: map[string]bool{}, fleet: f, conns: map[net.Conn]bool{}, allowed: allowed}
		for _, d := range []string{"etc", "run", "usr/sbin", "var/lib", ".units"} {
			must(t, os.MkdirAll(filepath.Join(srv.Root, d), 0o755))
		}
		srv.NewHostKey(t)
		f.Servers[s.Name] = srv
		srv.Start(t)
		t.Cleanup(srv.Stop)
	}
	return f
}

// freePort finds a port that is free on the loopback network.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Cluster opens a new cluster directory for the fleet.
func (f *Fleet) Cluster(t *testing.T) *cluster.Dir {
	t.Helper()
	d, err := cluster.Ensure(filepath.Join(t.TempDir(), "cluster"), f.Topology)
	must(t, err)
	d.SSHKey = f.Key
	t.Cleanup(d.Close)
	return d
}

// NewHostKey gives the server another host key.
func (s *Server) NewHostKey(t *testing.T) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	must(t, err)
	s.mu.Lock()
	s.hostKey = signer
	s.mu.Unlock()
}

// Start makes the server answer.
func (s *Server) Start(t *testing.T) {
	t.Helper()
	at := s.fleet.Topology.Server(s.Name)
	l, err := net.Listen("tcp", net.JoinHostPort(at.Management().String(), strconv.Itoa(s.fleet.Topology.SSH.Port)))
	must(t, err)
	s.mu.Lock()
	s.listener = l
	s.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
}

// Stop makes the server vanish: every connection ends.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		_ = s.listener.Close()
		s.listener = nil
	}
	for c := range s.conns {
		_ = c.Close()
	}
}

// CutAfter ends the connection once so many bytes have reached a script's
// standard input, as if the operator's program had been killed; 0 never does.
func (s *Server) CutAfter(n int) {
	s.mu.Lock()
	s.cut = n
	s.mu.Unlock()
}

// Did is what the server's tools were asked for, one line a call, without
// looking: "restart a.service", "install chrony".
func (s *Server) Did(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.Root, ".did"))
	if os.IsNotExist(err) {
		return nil
	}
	must(t, err)
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// Read is the content of a file of the server, "" if there is none.
func (s *Server) Read(path string) string {
	b, err := os.ReadFile(filepath.Join(s.Root, path))
	if err != nil {
		return ""
	}
	return string(b)
}

// Runs is the content that the unit's configuration had when it was started
// last, and whether it runs.
func (s *Server) Runs(unit string) (config string, running bool) {
	b, err := os.ReadFile(filepath.Join(s.Root, ".units", unit+".active"))
	return string(b), err == nil
}

func (s *Server) serve(raw net.Conn) {
	s.mu.Lock()
	conf := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(s.allowed.Marshal()) {
			return nil, fmt.Errorf("unknown key")
		}
		return nil, nil
	}}
	conf.AddHostKey(s.hostKey)
	s.conns[raw] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, raw)
		s.mu.Unlock()
		_ = raw.Close()
	}()
	_, channels, requests, err := ssh.NewServerConn(raw, conf)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		ch, reqs, err := c.Accept()
		if err != nil {
			return
		}
		go s.session(raw, ch, reqs)
	}
}

func (s *Server) session(raw net.Conn, ch ssh.Channel, reqs <-chan *ssh.Request) {
	defer ch.Close()
	for req := range reqs {
		if req.Type != "exec" {
			_ = req.Reply(false, nil)
			continue
		}
		_ = req.Reply(true, nil)
		n := binary.BigEndian.Uint32(req.Payload)
		code := s.exec(raw, string(req.Payload[4:4+n]), ch)
		_, _ = ch.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, uint32(code)))
		return
	}
}

// exec runs a command as sshd does: in a session of its own, which outlives
// the connection.
func (s *Server) exec(raw net.Conn, command string, ch ssh.Channel) int {
	var broken []string
	s.mu.Lock()
	for u := range s.Broken {
		broken = append(broken, u)
	}
	s.mu.Unlock()
	cmd := exec.Command("sh", "-c", command)
	cmd.Env = []string{
		"PATH=" + s.fleet.tools + ":/usr/sbin:/usr/bin:/sbin:/bin", "HASTACK_DEPLOY_ROOT=" + s.Root,
		"BROKEN=" + strings.Join(broken, " "), "SSH_CLIENT=127.0.0.1 1 1",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 255
	}
	if err := cmd.Start(); err != nil {
		return 255
	}
	go func() {
		_, _ = io.Copy(stdin, &cutter{ch, s, raw})
		_ = stdin.Close()
	}()
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

// cutter ends the connection when the server's bytes are used up.
type cutter struct {
	r   io.Reader
	s   *Server
	raw net.Conn
}

func (c *cutter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.cut == 0 || n == 0 {
		return n, err
	}
	if c.s.cut > n {
		c.s.cut -= n
		return n, err
	}
	n = c.s.cut
	c.s.cut = 0
	_ = c.raw.Close()
	return n, io.EOF
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
