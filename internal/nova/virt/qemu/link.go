package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"
)

// dialDeadline bounds one attempt to reach a monitor: a new QEMU on a busy
// machine takes seconds until it answers.
const dialDeadline = 30 * time.Second

// A link is the agent's way to one QEMU's monitor. QEMU serves one client at a
// time: while an older agent is still there, or QEMU is too busy to answer, a
// command fails and the next one tries to connect again. The guest runs on
// either way.
type link struct {
	dir     string
	onEvent func(qmpEvent)
	turn    chan struct{} // holds one token; who has it owns cur and closed
	cur     *monitor
	closed  bool
}

func newLink(dir string, onEvent func(qmpEvent)) *link {
	l := &link{dir: dir, onEvent: onEvent, turn: make(chan struct{}, 1)}
	l.turn <- struct{}{}
	return l
}

// monitor returns the open connection, or opens one.
func (l *link) monitor(ctx context.Context) (*monitor, error) {
	select {
	case <-l.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { l.turn <- struct{}{} }()
	if l.closed {
		return nil, errMonitorClosed
	}
	if l.cur != nil {
		select {
		case <-l.cur.done:
		default:
			return l.cur, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, dialDeadline)
	defer cancel()
	m, err := dialMonitor(ctx, l.dir, fileMonitor, l.onEvent)
	if err != nil {
		return nil, errors.Join(errMonitorClosed, err)
	}
	l.cur = m
	return m, nil
}

// close ends the connection for good.
func (l *link) close() {
	<-l.turn
	defer func() { l.turn <- struct{}{} }()
	l.closed = true
	if l.cur != nil {
		l.cur.close()
	}
}

func (l *link) do(ctx context.Context, command string, args any) (json.RawMessage, error) {
	return l.doWithFile(ctx, command, args, nil)
}

func (l *link) doWithFile(ctx context.Context, command string, args any, f *os.File) (json.RawMessage, error) {
	m, err := l.monitor(ctx)
	if err != nil {
		return nil, err
	}
	return m.doWithFile(ctx, command, args, f)
}

func (l *link) ask(ctx context.Context, command string, args, out any) error {
	raw, err := l.do(ctx, command, args)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, out)
}
