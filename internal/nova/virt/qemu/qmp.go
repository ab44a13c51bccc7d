package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/clock"
)

// errMonitorClosed is what every command returns once QEMU hung up.
var errMonitorClosed = errors.New("qmp: monitor closed")

// maxQMPLine bounds one message of QEMU: larger ones end the connection.
const maxQMPLine = 16 << 20

// monitor is a connection to the QMP server of one QEMU: JSON lines, commands
// matched to answers by id, events handed to a callback in order.
type monitor struct {
	conn    *net.UnixConn
	onEvent func(qmpEvent)
	done    chan struct{} // closed when the connection is gone

	mu      sync.Mutex // guards what follows and the order of writes
	next    uint64
	pending map[uint64]chan qmpAnswer
	closed  bool
}

type qmpEvent struct {
	Name string          `json:"event"`
	Data json.RawMessage `json:"data"`
}

type qmpAnswer struct {
	Return json.RawMessage `json:"return"`
	Error  *qmpError       `json:"error"`
}

// A qmpError is QEMU's refusal of a command.
type qmpError struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *qmpError) Error() string { return "qemu: " + e.Desc }

type qmpMessage struct {
	qmpEvent
	qmpAnswer
	ID       *uint64         `json:"id"`
	Greeting json.RawMessage `json:"QMP"`
}

type qmpCommand struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
	ID        uint64 `json:"id"`
}

// dialMonitor connects to the socket name inside dir (through the directory's
// descriptor, because socket paths are limited to 107 bytes), reads the
// greeting and negotiates.
func dialMonitor(ctx context.Context, dir, name string, onEvent func(qmpEvent)) (*monitor, error) {
	conn, err := dialIn(ctx, dir, name)
	if err != nil {
		return nil, err
	}
	m := &monitor{conn: conn, onEvent: onEvent, done: make(chan struct{}), pending: map[uint64]chan qmpAnswer{}}
	r := bufio.NewReaderSize(conn, 16<<10)
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetReadDeadline(deadline)
	}
	line, err := readLine(r)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("qmp greeting: %w", err)
	}
	var hello qmpMessage
	if err := json.Unmarshal(line, &hello); err != nil || hello.Greeting == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("qmp greeting: unexpected %.80q", line)
	}
	_ = conn.SetReadDeadline(time.Time{})
	go m.read(r)
	if _, err := m.do(ctx, "qmp_capabilities", nil); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func dialIn(ctx context.Context, dir, name string) (*net.UnixConn, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var dialer net.Dialer
	path := fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name)
	for {
		c, err := dialer.DialContext(ctx, "unix", path)
		if err == nil {
			return c.(*net.UnixConn), nil
		}
		// QEMU lets one client wait: the queue is full until it has looked at the
		// one that is there.
		if !errors.Is(err, unix.EAGAIN) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			return line, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if len(line) > maxQMPLine {
			return nil, errors.New("qmp: line too long")
		}
	}
}

// read hands answers and events on until the connection ends.
func (m *monitor) read(r *bufio.Reader) {
	for {
		line, err := readLine(r)
		if err != nil {
			break
		}
		var msg qmpMessage
		if json.Unmarshal(line, &msg) != nil {
			break
		}
		if msg.Name != "" {
			m.onEvent(msg.qmpEvent)
			continue
		}
		if msg.ID == nil {
			continue
		}
		m.mu.Lock()
		ch := m.pending[*msg.ID]
		delete(m.pending, *msg.ID)
		m.mu.Unlock()
		if ch != nil {
			ch <- msg.qmpAnswer
		}
	}
	m.close()
	close(m.done)
}

// close ends the connection; waiting commands fail.
func (m *monitor) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.closed = true
	_ = m.conn.Close()
	for id, ch := range m.pending {
		delete(m.pending, id)
		close(ch)
	}
}

// do runs a command and waits for its answer.
func (m *monitor) do(ctx context.Context, command string, args any) (json.RawMessage, error) {
	return m.doWithFile(ctx, command, args, nil)
}

// doWithFile sends f's descriptor along, for getfd, add-fd and add_client.
func (m *monitor) doWithFile(ctx context.Context, command string, args any, f *os.File) (json.RawMessage, error) {
	ch := make(chan qmpAnswer, 1)
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil, errMonitorClosed
	}
	m.next++
	id := m.next
	b, err := json.Marshal(qmpCommand{Execute: command, Arguments: args, ID: id})
	if err != nil {
		m.mu.Unlock()
		return nil, err
	}
	b = append(b, '\n')
	var oob []byte
	if f != nil {
		oob = unix.UnixRights(int(f.Fd()))
	}
	m.pending[id] = ch
	_ = m.conn.SetWriteDeadline(clock.System.Now().Add(5 * time.Second)) // sockets know machine time only
	_, _, err = m.conn.WriteMsgUnix(b, oob, nil)
	m.mu.Unlock()
	if err != nil {
		m.close()
		return nil, fmt.Errorf("qmp %s: %w", command, err)
	}
	select {
	case a, ok := <-ch:
		if !ok {
			return nil, errMonitorClosed
		}
		if a.Error != nil {
			return nil, a.Error
		}
		return a.Return, nil
	case <-ctx.Done():
		m.mu.Lock()
		delete(m.pending, id)
		m.mu.Unlock()
		return nil, fmt.Errorf("qmp %s: %w", command, ctx.Err())
	}
}
