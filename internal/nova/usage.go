package nova

import (
	"context"
	"time"
)

// Usage is what a project used in a time.
type Usage struct {
	ProjectID  string
	Start, End time.Time
	Servers    []ServerUsage
}

// ServerUsage is one server's part of a Usage.
type ServerUsage struct {
	ID, Name, Flavor, State string
	VCPUs, MemoryMB, DiskGB int
	Started, Ended          time.Time
	Hours                   float64 // within the time asked for
	Uptime                  time.Duration
}

// maxUsage bounds the servers that one answer counts.
const maxUsage = 10000

// UsageOf sums up what one project, or with "" each, used between two times.
// Servers deleted longer ago than they are kept do not count.
func (s *Service) UsageOf(ctx context.Context, projectID string, start, end time.Time) ([]Usage, error) {
	list, err := s.serversAlive(ctx, projectID, start, end)
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	var out []Usage
	at := map[string]int{}
	for i := range list {
		srv := &list[i]
		j, ok := at[srv.ProjectID]
		if !ok {
			j = len(out)
			at[srv.ProjectID] = j
			out = append(out, Usage{ProjectID: srv.ProjectID, Start: start, End: end})
		}
		from, to := srv.LaunchedAt, end
		u := ServerUsage{ID: srv.ID, Name: srv.Name, Flavor: srv.Flavor.Name, State: srv.VMState, VCPUs: srv.Flavor.VCPUs,
			MemoryMB: srv.Flavor.MemoryMB, DiskGB: srv.Flavor.RootGB + srv.Flavor.EphemeralGB, Started: srv.LaunchedAt, Ended: srv.TerminatedAt}
		u.Uptime = now.Sub(srv.LaunchedAt)
		if !srv.TerminatedAt.IsZero() {
			u.Uptime, u.State = srv.TerminatedAt.Sub(srv.LaunchedAt), "terminated"
			to = minTime(to, srv.TerminatedAt)
		}
		if from.Before(start) {
			from = start
		}
		if h := to.Sub(from).Hours(); h > 0 {
			u.Hours = h
		}
		out[j].Servers = append(out[j].Servers, u)
	}
	return out, nil
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
