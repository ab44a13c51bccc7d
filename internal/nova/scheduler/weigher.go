package scheduler

// A weigher gives a raw number per host; weigh scales each weigher's numbers
// to 0..1 over the hosts at hand before it multiplies and adds.
type weigher struct {
	multiplier float64
	value      func(h *Host) float64
}

func weighers(r *Request) []weigher {
	ws := []weigher{
		{1, func(h *Host) float64 { return float64(h.FreeMemoryMB) }},
		{1, func(h *Host) float64 { return float64(h.FreeVCPUs) }},
		{1, func(h *Host) float64 { return float64(h.FreeDiskGB) }},
	}
	// The soft policies outweigh the other three together: they are wishes
	// of the user, the others habits of the house.
	switch r.GroupPolicy {
	case SoftAffinity:
		ws = append(ws, weigher{10, func(h *Host) float64 { return float64(h.GroupMembers) }})
	case SoftAntiAffinity:
		ws = append(ws, weigher{10, func(h *Host) float64 { return -float64(h.GroupMembers) }})
	}
	return ws
}

func weigh(hosts []*Host, r *Request) map[*Host]float64 {
	total := make(map[*Host]float64, len(hosts))
	for _, w := range weighers(r) {
		lo, hi := w.value(hosts[0]), w.value(hosts[0])
		for _, h := range hosts[1:] {
			v := w.value(h)
			lo, hi = min(lo, v), max(hi, v)
		}
		if hi == lo {
			continue
		}
		for _, h := range hosts {
			total[h] += w.multiplier * (w.value(h) - lo) / (hi - lo)
		}
	}
	return total
}
