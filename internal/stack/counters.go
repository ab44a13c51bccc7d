package stack

import "github.com/prometheus/client_golang/prometheus"

// count puts what the engines count into the process's metrics: what a request
// costs in statements, commits, messages and internal calls can be read there.
func (s *Stack) count() {
	counter := func(name, help string, value func() float64) {
		s.metrics.Registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value))
	}
	counter("hastack_http_calls_total", "Calls from service to service.", func() float64 { return float64(s.shortcut.calls.Load()) })
	counter("hastack_sql_statements_total", "SQL statements sent.", func() float64 {
		var n int64
		for _, d := range s.dbs {
			n += d.Stats().Statements
		}
		return float64(n)
	})
	counter("hastack_sql_commits_total", "SQL transactions committed, single statements included.", func() float64 {
		var n int64
		for _, d := range s.dbs {
			n += d.Stats().Commits
		}
		return float64(n)
	})
	counter("hastack_bus_messages_total", "Calls, casts, fanouts and replies sent.", func() float64 {
		return float64(s.bus.Stats().Messages())
	})
}
