package status

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/node"
	"github.com/hastack/hastack/internal/openstack"
	"github.com/hastack/hastack/internal/topology"
)

// Deadline is how long everything together may take if nothing else is said.
const Deadline = 3 * time.Second

// Ports that are asked.
const (
	agentPort        = 9180
	prometheusPort   = 9090
	alertmanagerPort = 9093
)

// A Source asks one cluster. Make one with [New]; connections and the
// operator's token are kept from one look to the next.
type Source struct {
	t       *topology.Topology
	http    *http.Client
	clients *openstack.Clients // nil without a virtual address
	through string
	clock   clock.Clock
	within  time.Duration
}

// New makes a source. client trusts the cluster's authority and shows the
// operator's certificate; password is the user admin's.
func New(t *topology.Topology, client *http.Client, password config.Secret, clk clock.Clock) *Source {
	s := &Source{t: t, http: client, clock: clk, within: Deadline}
	if v := t.VIP("api"); v != nil {
		s.through = "https://" + v.Address.String()
		s.clients = openstack.New(openstack.Config{
			AuthURL: s.through + "/identity/v3", Username: "admin", Password: password,
			Project: "admin", Domain: "Default", Region: t.Region, Transport: client.Transport,
		})
	}
	return s
}

// Within sets how long a look may take, in place of Deadline.
func (s *Source) Within(d time.Duration) *Source {
	s.within = d
	return s
}

// Look asks everything once and makes the report.
func (s *Source) Look(ctx context.Context) *Report {
	ctx, cancel := context.WithTimeout(ctx, s.within)
	defer cancel()
	seen := &Seen{Nodes: map[string]Node{}}
	answers := make([]Node, len(s.t.Servers))
	var all sync.WaitGroup
	for i, server := range s.t.Servers {
		all.Go(func() { answers[i] = s.askNode(ctx, server) })
	}
	all.Go(func() { seen.Cloud = s.askCloud(ctx) })
	all.Go(func() { seen.Alarms = s.askAlarms(ctx) })
	var rates *Rates
	all.Go(func() { rates = s.askRates(ctx) })
	all.Wait()
	seen.Cloud.Rates = rates
	for i, server := range s.t.Servers {
		seen.Nodes[server.Name] = answers[i]
	}
	seen.Time = s.clock.Now()
	return Judge(s.t, seen)
}

func (s *Source) askNode(ctx context.Context, server *topology.Server) Node {
	var st node.State
	if err := s.get(ctx, base(server.Management(), agentPort)+"/state", &st); err != nil {
		return Node{Err: err}
	}
	return Node{State: &st}
}

func base(a netip.Addr, port int) string {
	return "https://" + netip.AddrPortFrom(a, uint16(port)).String()
}

// get reads a JSON answer.
func (s *Source) get(ctx context.Context, url string, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return plain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 32<<20)).Decode(out); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	return nil
}

// askAlarms asks the monitors, all at the same time, and takes the first that
// answers in their order: they tell each other.
func (s *Source) askAlarms(ctx context.Context) Alarms {
	monitors := s.t.Monitors()
	answers := make([]Alarms, len(monitors))
	var all sync.WaitGroup
	for i, m := range monitors {
		all.Go(func() {
			var firing []struct {
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
				StartsAt    time.Time         `json:"startsAt"`
			}
			if s.get(ctx, base(m.Management(), alertmanagerPort)+"/api/v2/alerts?active=true&silenced=false&inhibited=false", &firing) != nil {
				return
			}
			answers[i] = Alarms{Known: true, From: m.Name}
			for _, f := range firing {
				answers[i].Firing = append(answers[i].Firing, Alarm{
					Name: f.Labels["alertname"], Server: f.Labels["server"], Summary: f.Annotations["summary"],
					Since: f.StartsAt, Runbook: f.Annotations["runbook"],
				})
			}
		})
	}
	all.Wait()
	for _, a := range answers {
		if a.Known {
			return a
		}
	}
	return Alarms{}
}

// The questions to Prometheus, about all APIs over one hour.
const (
	quantileQuery = `histogram_quantile(%s, sum by (le) (rate(hastack_http_request_seconds_bucket[1h])))`
	errorsQuery   = `sum(rate(hastack_http_request_seconds_count{status=~"5.."}[1h])) / sum(rate(hastack_http_request_seconds_count[1h]))`
)

// askRates asks the first monitor that answers.
func (s *Source) askRates(ctx context.Context) *Rates {
	for _, m := range s.t.Monitors() {
		one, cancel := context.WithTimeout(ctx, s.within/3)
		r := s.ratesFrom(one, base(m.Management(), prometheusPort))
		cancel()
		if r != nil {
			return r
		}
	}
	return nil
}

func (s *Source) ratesFrom(ctx context.Context, url string) *Rates {
	p50, err := s.query(ctx, url, fmt.Sprintf(quantileQuery, "0.5"))
	if err != nil {
		return nil
	}
	p99, err := s.query(ctx, url, fmt.Sprintf(quantileQuery, "0.99"))
	if err != nil {
		return nil
	}
	// No request failed: there is no such series, which is none.
	failed, _ := s.query(ctx, url, errorsQuery)
	seconds := func(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }
	return &Rates{P50: seconds(p50), P99: seconds(p99), Errors: failed}
}

// query is one value of Prometheus.
func (s *Source) query(ctx context.Context, url, q string) (float64, error) {
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := s.get(ctx, url+"/api/v1/query?query="+escape(q), &answer); err != nil {
		return 0, err
	}
	if len(answer.Data.Result) != 1 {
		return 0, fmt.Errorf("no value for %s", q)
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v != v { // NaN: there was nothing to divide
		return 0, fmt.Errorf("no value for %s", q)
	}
	return v, nil
}
