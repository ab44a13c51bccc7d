package node

// refusingDonor tells that the member takes itself for a donor and no
// statements, which a donor otherwise does.
func (s *Galera) refusingDonor() bool { return s.Primary && !s.Ready && s.State == galeraDonor }

// stuckDonor tells that this member keeps refusing statements as a donor,
// although all others of its component have their data: nobody is left whom the
// copy could be for. Galera forgets to end the transfer when members lose sight
// of each other in its midst (codership/galera issues 133 and 580). Of several
// such members the first is restarted, the others wait for it.
func (r *galeraRecovery) stuckDonor(own Galera, others map[string]*Galera) bool {
	if !own.refusingDonor() {
		return false
	}
	synced, stuck := 0, 0
	before := true // in the order of members
	for _, m := range r.members {
		g := others[m]
		switch {
		case m == r.name:
			before = false
		case g == nil:
		case g.refusingDonor() && before:
			return false
		case g.refusingDonor():
			stuck++
		case g.Primary && g.InSync():
			synced++
		}
	}
	return synced > 0 && own.Size == 1+synced+stuck
}
