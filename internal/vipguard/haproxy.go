package vipguard

import (
	"context"
	"net/http"
	"time"
)

const (
	haproxyEvery    = 250 * time.Millisecond
	haproxyDeadline = 350 * time.Millisecond
	// haproxyFalls are the checks in a row that must fail.
	haproxyFalls = 2
	// haproxyMercy is how long a HAProxy may hang before it is killed, so that
	// systemd starts another.
	haproxyMercy = 5 * time.Second
	haproxyUnit  = "haproxy.service"
)

// watchHAProxy asks HAProxy over loopback. That it has ended is told by its
// unit, faster; this is for one that runs and does not answer.
func (g *Guard) watchHAProxy(ctx context.Context) error {
	client := &http.Client{Timeout: haproxyDeadline, Transport: &http.Transport{DisableKeepAlives: true}}
	v := verdict{guard: g, file: AnswersFile}
	tick := g.clock.NewTicker(haproxyEvery)
	defer tick.Stop()
	falls, since := 0, time.Time{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C():
		}
		g.alive()
		err := ask(ctx, client, "http://"+g.cfg.HAProxy+"/alive")
		if err == nil {
			falls = 0
			if err := v.set(ctx, true, ""); err != nil {
				return err
			}
			continue
		}
		if falls++; falls < haproxyFalls {
			continue
		}
		if !v.bad {
			since = g.clock.Now()
		}
		if err := v.set(ctx, false, "haproxy does not answer", "error", err); err != nil {
			return err
		}
		if g.clock.Now().Sub(since) > haproxyMercy {
			since = g.clock.Now()
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
