package vipguard

import (
	"context"
	"net/http"
	"time"
)

const (
	haproxyEvery    = 250 * time.Millisecond
	haproxyDeadline = time.Second
	// haproxyPatience is how long HAProxy may give no answer. It must outlast
	// what a busy machine makes a program wait: when all load balancers are
	// slow at once, giving the addresses away would leave them to nobody.
	haproxyPatience = 5 * time.Second
	// haproxyMercy is how long a HAProxy may hang before it is killed, so that
	// systemd starts another.
	haproxyMercy   = 8 * time.Second
	haproxyUnit    = "haproxy.service"
	haproxyPIDFile = "/run/haproxy.pid"
)

// watchHAProxy asks HAProxy over loopback. That it has ended is told by its
// unit, and that it was stopped by the kernel, both at once; asking finds one
// that hangs.
func (g *Guard) watchHAProxy(ctx context.Context) error {
	client := &http.Client{Timeout: haproxyDeadline, Transport: &http.Transport{DisableKeepAlives: true}}
	v := verdict{guard: g, file: AnswersFile}
	tick := g.clock.NewTicker(haproxyEvery)
	defer tick.Stop()
	last := g.clock.Now() // answer, or failure that was acted on
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C():
		}
		g.alive()
		why := "haproxy is stopped by a signal"
		var err error
		held := stopped(g.pidFile(haproxyPIDFile))
		if !held {
			why = "haproxy does not answer"
			err = ask(ctx, client, "http://"+g.cfg.HAProxy+"/alive")
		}
		now := g.clock.Now()
		if !held && err == nil {
			last = now
			if err := v.set(ctx, true, ""); err != nil {
				return err
			}
			continue
		}
		silent := now.Sub(last)
		if held || silent >= haproxyPatience {
			if err := v.set(ctx, false, why, "error", err); err != nil {
				return err
			}
		}
		if silent > haproxyMercy {
			last = now
			if err := g.kill(ctx, haproxyUnit); err != nil {
				g.log.WarnContext(ctx, "end a haproxy that hangs", "error", err)
			}
		}
	}
}

func ask(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
