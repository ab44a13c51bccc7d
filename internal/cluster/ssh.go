package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/topology"
)

const (
	// connectTimeout bounds the dial, sessionTimeout the handshake after it,
	// which takes long on a server that is very busy.
	connectTimeout = 8 * time.Second
	sessionTimeout = 40 * time.Second
	// keepaliveEvery and keepaliveTimeout bound how long a server that
	// vanished goes unnoticed while a command runs on it.
	keepaliveEvery   = 5 * time.Second
	keepaliveTimeout = 15 * time.Second
	// sessions on one connection; sshd's MaxSessions is 10.
	sessions = 8
	// maxOutput bounds what a script may print, maxTail what an error shows.
	maxOutput = 64 << 20
	maxTail   = 2000
)

// A Conn is an SSH connection to one server, shared by all who ask for it.
type Conn struct {
	server string
	client *ssh.Client
	sudo   bool
	slots  chan struct{}
	clock  clock.Clock
	closed chan struct{}
}

// dialled is the one connection to a server; its lock makes callers that come
// together wait for one dial.
type dialled struct {
	mu   sync.Mutex
	conn *Conn
}

// SSH is the connection to a server; it is made when there is none. The host
// key is pinned in known_hosts the first time.
func (d *Dir) SSH(ctx context.Context, s *topology.Server) (*Conn, error) {
	d.mu.Lock()
	slot := d.conns[s.Name]
	if slot == nil {
		slot = &dialled{}
		d.conns[s.Name] = slot
	}
	d.mu.Unlock()
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if slot.conn != nil && !slot.conn.dead() {
		return slot.conn, nil
	}
	conn, err := d.dial(ctx, s)
	if err != nil {
		return nil, err
	}
	slot.conn = conn
	return conn, nil
}

// Close closes every connection.
func (d *Dir) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, slot := range d.conns {
		slot.mu.Lock()
		if slot.conn != nil {
			_ = slot.conn.client.Close()
		}
		slot.mu.Unlock()
	}
}

func (d *Dir) dial(ctx context.Context, s *topology.Server) (*Conn, error) {
	t := d.Topology.SSH
	port := t.Port
	if port == 0 {
		port = 22
	}
	addr := net.JoinHostPort(s.Management().String(), strconv.Itoa(port))
	auth, tried, done, err := d.auth()
	if err != nil {
		return nil, err
	}
	defer done()
	raw, err := (&net.Dialer{Timeout: connectTimeout, KeepAlive: keepaliveEvery}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s does not answer at %s (%w): is it up, and can this machine reach the management network?", s.Name, addr, err)
	}
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	// The handshake reads until its answer comes; ctx ends it by the socket.
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	pin, algorithms, err := d.hostKey(s)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	sc, chans, reqs, err := ssh.NewClientConn(raw, addr, &ssh.ClientConfig{
		User: t.User, Auth: auth, HostKeyCallback: pin, HostKeyAlgorithms: algorithms,
	})
	if err != nil {
		_ = raw.Close()
		return nil, explain(s, t.User, addr, tried, err)
	}
	if !stop() {
		return nil, errors.Join(fmt.Errorf("%s at %s: no SSH session within %s", s.Name, addr, sessionTimeout), sc.Close())
	}
	c := &Conn{
		server: s.Name, client: ssh.NewClient(sc, chans, reqs), sudo: t.User != "root",
		slots: make(chan struct{}, sessions), clock: d.Clock, closed: make(chan struct{}),
	}
	go c.keepalive()
	return c, nil
}

// explain says what an operator can do about a failed handshake.
func explain(s *topology.Server, user, addr, tried string, err error) error {
	var changed *hostKeyError
	switch {
	case errors.As(err, &changed):
		return changed
	case strings.Contains(err.Error(), "no common algorithm for host key"):
		return fmt.Errorf("%s no longer has the kind of host key that is pinned: if it was installed anew, remove its line from known_hosts in the cluster directory", s.Name)
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("%s refuses user %s with %s: put its public key into the user's authorized_keys there, or name another key (ssh.key in the topology)", s.Name, user, tried)
	}
	return fmt.Errorf("%s: no SSH session at %s: %w", s.Name, addr, err)
}

// keepalive closes the connection when the server stops answering.
func (c *Conn) keepalive() {
	ended := make(chan struct{})
	go func() { _ = c.client.Wait(); close(ended) }()
	defer close(c.closed)
	tick := c.clock.NewTicker(keepaliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C():
		}
		answered := make(chan error, 1)
		go func() {
			_, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil)
			answered <- err
		}()
		select {
		case <-ended:
			return
		case err := <-answered:
			if err == nil {
				continue
			}
		case <-c.clock.After(keepaliveTimeout):
		}
		_ = c.client.Close()
	}
}

func (c *Conn) dead() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// A ScriptError is a script that ended with another code than 0.
type ScriptError struct {
	Server string
	Code   int
	// Said is the end of what it printed to standard error.
	Said string
}

func (e *ScriptError) Error() string {
	said := e.Said
	if said == "" {
		said = fmt.Sprintf("a command ended with code %d and said nothing", e.Code)
	}
	return e.Server + ": " + said
}

// Run runs a POSIX shell script as root and returns its standard output. A
// failed script is a [ScriptError]. When ctx ends the session is closed; what
// the script had begun on the server may go on.
func (c *Conn) Run(ctx context.Context, script string, stdin io.Reader) ([]byte, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", c.server, ctx.Err())
	}
	session, err := c.client.NewSession()
	if err != nil {
		return nil, fmt.Errorf("%s: the SSH connection broke: %w", c.server, err)
	}
	defer func() { _ = session.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = session.Close() })
	defer stop()
	out, tail := &limited{max: maxOutput}, &lastBytes{}
	session.Stdout, session.Stderr, session.Stdin = out, tail, stdin
	err = session.Run(c.shell(script))
	var exit *ssh.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", c.server, context.Cause(ctx))
	case errors.As(err, &exit):
		return out.Bytes(), &ScriptError{Server: c.server, Code: exit.ExitStatus(), Said: tail.String()}
	case err != nil:
		return nil, fmt.Errorf("%s: the SSH connection broke: %w", c.server, err)
	}
	return out.Bytes(), nil
}

// shell is the command that runs a script as root.
func (c *Conn) shell(script string) string {
	command := "sh -c " + Quote(script)
	if c.sudo {
		command = "sudo -n " + command
	}
	return command
}

// Quote makes one word of the shell out of s.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// limited keeps what is written up to max and fails beyond it.
type limited struct {
	bytes.Buffer
	max int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > l.max {
		return 0, fmt.Errorf("a script printed more than %d bytes", l.max)
	}
	return l.Buffer.Write(p)
}

// lastBytes keeps the end of what is written.
type lastBytes struct{ b []byte }

func (l *lastBytes) Write(p []byte) (int, error) {
	l.b = append(l.b, p...)
	if over := len(l.b) - maxTail; over > 0 {
		l.b = l.b[over:]
	}
	return len(p), nil
}

func (l *lastBytes) String() string { return strings.TrimSpace(string(l.b)) }

// Hold runs a script that prints a line when it has what it was run for and
// then waits for the end of its input. It returns after that line; release
// ends the script.
func (c *Conn) Hold(ctx context.Context, script string) (release func(), err error) {
	session, err := c.client.NewSession()
	if err != nil {
		return nil, fmt.Errorf("%s: the SSH connection broke: %w", c.server, err)
	}
	stdin, err := session.StdinPipe()
	if err != nil {
		return nil, errors.Join(err, session.Close())
	}
	tail := &lastBytes{}
	session.Stderr = tail
	first := &firstLine{seen: make(chan struct{})}
	session.Stdout = first
	if err := session.Start(c.shell(script)); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", c.server, err), session.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- session.Wait() }()
	release = func() {
		_ = stdin.Close()
		_ = session.Close()
	}
	select {
	case <-first.seen:
		return release, nil
	case err := <-ended:
		release()
		if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
			return nil, &ScriptError{Server: c.server, Code: exit.ExitStatus(), Said: tail.String()}
		}
		return nil, fmt.Errorf("%s: the SSH session ended early: %w", c.server, err)
	case <-ctx.Done():
		release()
		return nil, ctx.Err()
	}
}

// firstLine closes seen when something was written.
type firstLine struct {
	once sync.Once
	seen chan struct{}
}

func (f *firstLine) Write(p []byte) (int, error) {
	f.once.Do(func() { close(f.seen) })
	return len(p), nil
}
