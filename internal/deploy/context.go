package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/topology"
)

// atOnce is how many servers are worked on at the same time.
const atOnce = 16

// runMark is the variable in the environment of every process that a deploy
// starts on a server; see quiesce.
const runMark = "HASTACK_DEPLOY"

// Run runs a shell script (POSIX sh, as root) on a server and returns what it
// printed. An error carries the server's name and the last lines of standard
// error. Secrets go to stdin, never into the script.
func (c *Context) Run(ctx context.Context, s *topology.Server, script string, stdin io.Reader) ([]byte, error) {
	conn, err := c.Cluster.SSH(ctx, s)
	if err != nil {
		return nil, err
	}
	if c.run != "" {
		script = runMark + "=" + c.run + " exec sh -c " + cluster.Quote(script)
	}
	return conn.Run(ctx, script, stdin)
}

// Everywhere runs do for all servers at the same time and waits for all of
// them: one that fails does not stop another half way. The error has a line
// for each server that failed.
func (c *Context) Everywhere(ctx context.Context, servers []*topology.Server, do func(context.Context, *topology.Server) error) error {
	errs := make([]error, len(servers))
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, s := range servers {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = named(s, do(ctx, s))
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// named makes sure that an error says which server it is of.
func named(s *topology.Server, err error) error {
	if err == nil || strings.Contains(err.Error(), s.Name) {
		return err
	}
	return fmt.Errorf("%s: %w", s.Name, err)
}

// quiet is a Progress that shows nothing.
type quiet struct{}

func (quiet) Begin(string, int)           {}
func (quiet) Server(string, string, bool) {}
func (quiet) End(string)                  {}

func (c *Context) progress() Progress {
	if c.Progress == nil {
		return quiet{}
	}
	return c.Progress
}
