package drill

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// A booter makes and deletes one server after the other for a round. Each has
// to end ACTIVE or ERROR, and its delete has to leave nothing.
type booter struct {
	cloud                  *cloud
	clock                  waiter
	image, flavor, network string
	pause                  time.Duration // between one server's end and the next
	mu                     sync.Mutex    // guards boots
	boots                  Boots
	stop                   context.CancelFunc
	done                   chan struct{}
}

// Bounds of a boot: a server that is slower than these is stuck. They are
// longer than any fault is held, because the server's own host may be off.
const (
	bootPost   = 60 * time.Second
	bootActive = 180 * time.Second
	bootGone   = 120 * time.Second
)

// startBoots begins the loop; names are prefix-0, prefix-1, …
func (b *booter) start(ctx context.Context, prefix string, now func() time.Duration) {
	loop, cancel := context.WithCancel(ctx)
	b.stop, b.done, b.boots = cancel, make(chan struct{}), Boots{}
	go func() {
		defer close(b.done)
		for n := 0; loop.Err() == nil; n++ {
			began := now()
			// A boot that has begun is followed to its end, or no audit could
			// be asked after it.
			b.one(ctx, fmt.Sprintf("%s-%d", prefix, n))
			b.mu.Lock()
			b.boots.MaxMS = max(b.boots.MaxMS, ms(now()-began))
			b.mu.Unlock()
			if sleep(loop, b.clock, b.pause) != nil {
				return
			}
		}
	}()
}

// end waits for the boot that is under way and returns the counts.
func (b *booter) end() Boots {
	b.stop()
	<-b.done
	return b.boots
}

func (b *booter) count(f func(*Boots)) { b.mu.Lock(); defer b.mu.Unlock(); f(&b.boots) }

func (b *booter) one(ctx context.Context, name string) {
	b.count(func(c *Boots) { c.Asked++ })
	id, err := b.post(ctx, name)
	if err != nil {
		b.count(func(c *Boots) { c.Refused++; c.said(err) })
	}
	if id == "" {
		// The POST may have been taken and its answer lost.
		list, err := b.named(ctx, name)
		if err != nil || len(list) == 0 {
			return
		}
		id = list[0]
	}
	status, err := b.settled(ctx, id)
	b.count(func(c *Boots) {
		switch status {
		case "ACTIVE":
			c.Active++
		case "ERROR":
			c.Error++
		default:
			c.Stuck++
			c.said(fmt.Errorf("%s is %q: %w", id, status, err))
		}
	})
	if list, err := b.named(ctx, name); err == nil && len(list) > 1 {
		b.count(func(c *Boots) { c.Doubled++ })
		for _, other := range list {
			_ = b.remove(ctx, other)
		}
		return
	}
	if err := b.remove(ctx, id); err != nil {
		b.count(func(c *Boots) { c.Stuck++; c.said(fmt.Errorf("delete %s: %w", id, err)) })
	}
}

// said keeps the first few errors.
func (c *Boots) said(err error) {
	if text := fmt.Sprint(err); len(c.Said) < 5 {
		c.Said = append(c.Said, text[:min(len(text), 300)])
	}
}

// until repeats f, once a second, until it is done (then its error is no more
// than the reason) or the bound is over.
func (b *booter) until(ctx context.Context, bound time.Duration, f func(ctx context.Context) (done bool, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	var last error
	for {
		try, stop := context.WithTimeout(ctx, 5*time.Second)
		done, err := f(try)
		stop()
		if done {
			return nil
		}
		if err != nil {
			last = err
		}
		if e := sleep(ctx, b.clock, time.Second); e != nil {
			return errors.Join(fmt.Errorf("not within %v: %w", bound, e), last)
		}
	}
}

// post asks for a server. The key makes a repeat return the same server.
func (b *booter) post(ctx context.Context, name string) (id string, err error) {
	var no error
	err = b.until(ctx, bootPost, func(ctx context.Context) (bool, error) {
		var out struct{ Server struct{ ID string } }
		_, err := read(b.cloud.do(ctx, http.MethodPost, "/compute/v2.1/servers", object{"server": object{
			"name": name, "flavorRef": b.flavor, "imageRef": b.image, "networks": []object{{"uuid": b.network}},
		}}, &out, "Idempotency-Key", name))
		id = out.Server.ID
		if refused(err) {
			no = err
		}
		return err == nil || no != nil, err
	})
	return id, errors.Join(no, err)
}

func (b *booter) named(ctx context.Context, name string) ([]string, error) {
	var list []string
	err := b.until(ctx, bootPost, func(ctx context.Context) (bool, error) {
		var out struct{ Servers []struct{ ID string } }
		_, err := read(b.cloud.do(ctx, http.MethodGet, "/compute/v2.1/servers?name="+url.QueryEscape("^"+name+"$"), nil, &out))
		list = nil
		for _, s := range out.Servers {
			list = append(list, s.ID)
		}
		return err == nil, err
	})
	return list, err
}

func (b *booter) settled(ctx context.Context, id string) (status string, err error) {
	err = b.until(ctx, bootActive, func(ctx context.Context) (bool, error) {
		var out struct{ Server struct{ Status string } }
		_, err := read(b.cloud.do(ctx, http.MethodGet, "/compute/v2.1/servers/"+id, nil, &out))
		status = out.Server.Status
		return err == nil && (status == "ACTIVE" || status == "ERROR"), err
	})
	return status, err
}

func (b *booter) remove(ctx context.Context, id string) error {
	return b.until(ctx, bootGone, func(ctx context.Context) (bool, error) {
		_, err := b.cloud.do(ctx, http.MethodDelete, "/compute/v2.1/servers/"+id, nil, nil)
		var a *answerError
		return errors.As(err, &a) && a.Status == http.StatusNotFound, err
	})
}
