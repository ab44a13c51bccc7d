package node

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// A figure is one metric: how it is called, and where its values come from.
// The help text is one sentence; doc/ops/metrics.md has the same.
type figure struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
	from       func(s *State, emit emit)
}

// emit takes one value with the values of the figure's labels.
type emit func(v float64, labels ...string)

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// figuresOf are all metrics of the agent.
func figuresOf() []figure {
	return slices.Concat(agentFigures(), hostFigures(), linkFigures(), unitFigures(), keyFigures(), balanceFigures(),
		galeraFigures(), rabbitFigures(), peerFigures())
}

// A Metric tells people about a figure.
type Metric struct {
	Name, Help string
	Labels     []string
}

// Metrics are all that an agent exports, in order.
func Metrics() []Metric {
	var out []Metric
	for _, f := range figuresOf() {
		out = append(out, Metric{f.name, f.help, f.labels})
	}
	return out
}

// figures is the agent's state as Prometheus takes it.
type figures struct {
	state func() *State
	list  []figure
	descs []*prometheus.Desc // by index of list
}

func newFigures(state func() *State) *figures {
	g := &figures{state: state, list: figuresOf()}
	for _, f := range g.list {
		g.descs = append(g.descs, prometheus.NewDesc(f.name, f.help, f.labels, nil))
	}
	return g
}

// Describe says nothing: what there is depends on the server.
func (*figures) Describe(chan<- *prometheus.Desc) {}

// Collect turns one state into figures.
func (g *figures) Collect(ch chan<- prometheus.Metric) {
	s := g.state()
	for i, f := range g.list {
		f.from(s, func(v float64, labels ...string) {
			m, err := prometheus.NewConstMetric(g.descs[i], f.kind, v, labels...)
			if err != nil { // a label that is no text: the others matter
				m = prometheus.NewInvalidMetric(g.descs[i], err)
			}
			ch <- m
		})
	}
}

// truth is a claim as a figure.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
