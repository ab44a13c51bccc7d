package node

// backend makes the values of figures of the groups behind a load balancer.
func backend(value func(b *Backend) float64) func(*State, emit) {
	return func(s *State, e emit) {
		if s.HAProxy == nil {
			return
		}
		for i := range s.HAProxy.Backends {
			e(value(&s.HAProxy.Backends[i]), s.HAProxy.Backends[i].Name)
		}
	}
}

func balanceFigures() []figure {
	return []figure{
		{"hastack_haproxy_backend_up", "1 if the backend has a server to send to.", gauge, []string{"backend"}, backend(func(b *Backend) float64 { return truth(b.Up) })},
		{"hastack_haproxy_backend_sessions", "Open sessions of the backend.", gauge, []string{"backend"}, backend(func(b *Backend) float64 { return float64(b.Sessions) })},
		{"hastack_haproxy_backend_queue", "Requests that wait for a server of the backend.", gauge, []string{"backend"}, backend(func(b *Backend) float64 { return float64(b.Queue) })},
		{"hastack_haproxy_backend_requests_total", "Requests of the backend.", counter, []string{"backend"}, backend(func(b *Backend) float64 { return float64(b.Requests) })},
		{"hastack_haproxy_backend_failed_total", "Answers 5xx of the backend.", counter, []string{"backend"}, backend(func(b *Backend) float64 { return float64(b.Failed) })},
		{"hastack_haproxy_backend_errors_total", "Connections and answers of the backend that failed.", counter, []string{"backend"}, backend(func(b *Backend) float64 { return float64(b.Errors) })},
		{"hastack_haproxy_server_up", "1 if the load balancer holds the backend's server for healthy.", gauge, []string{"backend", "member"}, func(s *State, e emit) {
			if s.HAProxy == nil {
				return
			}
			for _, b := range s.HAProxy.Backends {
				for i := range b.Servers {
					e(truth(b.Servers[i].up()), b.Name, b.Servers[i].Name)
				}
			}
		}},
		{"hastack_database_writer", "1 for the database server that this load balancer sends new connections to.", gauge, []string{"member"}, func(s *State, e emit) {
			if s.HAProxy != nil && s.HAProxy.Writer != "" {
				e(1, s.HAProxy.Writer)
			}
		}},
		{"hastack_pacemaker_quorate", "1 if this server's part of the cluster manager has quorum.", gauge, nil, func(s *State, e emit) {
			if s.Pacemaker != nil {
				e(truth(s.Pacemaker.Quorate))
			}
		}},
		{"hastack_pacemaker_online", "1 if the cluster manager on this server sees the member.", gauge, []string{"member"}, func(s *State, e emit) {
			if s.Pacemaker == nil {
				return
			}
			for _, n := range s.Pacemaker.Online {
				e(1, n)
			}
			for _, n := range s.Pacemaker.Offline {
				e(0, n)
			}
		}},
		{"hastack_pacemaker_failed", "Failed actions of the cluster manager.", gauge, nil, func(s *State, e emit) {
			if s.Pacemaker != nil {
				e(float64(len(s.Pacemaker.Failed)))
			}
		}},
		{"hastack_memcached_up", "1 if memcached answers.", gauge, nil, func(s *State, e emit) {
			if s.Memcached != nil {
				e(truth(s.Memcached.Answers))
			}
		}},
		{"hastack_memcached_evictions_total", "Entries that memcached forgot for want of memory.", counter, nil, func(s *State, e emit) {
			if s.Memcached != nil && s.Memcached.Answers {
				e(float64(s.Memcached.Evictions))
			}
		}},
	}
}

func galeraFigures() []figure {
	of := func(value func(g *Galera) float64) func(*State, emit) {
		return func(s *State, e emit) {
			if s.Galera != nil {
				e(value(s.Galera))
			}
		}
	}
	// A database that does not answer has no sizes and settings.
	answered := func(value func(g *Galera) float64) func(*State, emit) {
		return func(s *State, e emit) {
			if s.Galera != nil && s.Galera.State != "" {
				e(value(s.Galera))
			}
		}
	}
	return []figure{
		{"hastack_galera_ready", "1 if the database takes statements.", gauge, nil, of(func(g *Galera) float64 { return truth(g.Ready) })},
		{"hastack_galera_primary", "1 if the database is in the part of its cluster that has quorum.", gauge, nil, of(func(g *Galera) float64 { return truth(g.Primary) })},
		{"hastack_galera_synced", "1 if the database has all that the cluster has.", gauge, nil, of(func(g *Galera) float64 { return truth(g.State == galeraSynced) })},
		{"hastack_galera_cluster_size", "Members of the database's part of the cluster.", gauge, nil, answered(func(g *Galera) float64 { return float64(g.Size) })},
		{"hastack_galera_members", "Members that the cluster should have.", gauge, nil, of(func(g *Galera) float64 { return float64(g.Members) })},
		{"hastack_galera_receive_queue", "Write sets that wait to be applied here.", gauge, nil, answered(func(g *Galera) float64 { return float64(g.ReceiveQueue) })},
		{"hastack_galera_send_queue", "Write sets that wait to be sent.", gauge, nil, answered(func(g *Galera) float64 { return float64(g.SendQueue) })},
		{"hastack_galera_flow_control_ratio", "Part of the time that replication was paused.", gauge, nil, answered(func(g *Galera) float64 { return g.FlowControl })},
		{"hastack_galera_committed", "Sequence number of the last write set committed here.", gauge, nil, answered(func(g *Galera) float64 { return float64(g.Committed) })},
		{"hastack_galera_flush_log_at_commit", "innodb_flush_log_at_trx_commit; anything but 1 can lose acknowledged writes.", gauge, nil, answered(func(g *Galera) float64 { return float64(g.Flush) })},
		{"hastack_galera_connections", "Connections of clients.", gauge, nil, answered(func(g *Galera) float64 { return float64(g.Connections) })},
	}
}

func rabbitFigures() []figure {
	of := func(value func(r *Rabbit) float64) func(*State, emit) {
		return func(s *State, e emit) {
			if s.Rabbit != nil && s.Rabbit.Answers {
				e(value(s.Rabbit))
			}
		}
	}
	return []figure{
		{"hastack_rabbit_up", "1 if the broker answers.", gauge, nil, func(s *State, e emit) {
			if s.Rabbit != nil {
				e(truth(s.Rabbit.Answers))
			}
		}},
		{"hastack_rabbit_running", "Members that the broker sees running, itself among them.", gauge, nil, of(func(r *Rabbit) float64 { return float64(len(r.Running)) })},
		{"hastack_rabbit_members", "Members that the cluster should have.", gauge, nil, of(func(r *Rabbit) float64 { return float64(r.Members) })},
		{"hastack_rabbit_partitions", "Members that the broker is cut off from.", gauge, nil, of(func(r *Rabbit) float64 { return float64(len(r.Partitions)) })},
		{"hastack_rabbit_queues", "Queues.", gauge, nil, of(func(r *Rabbit) float64 { return float64(r.Queues) })},
		{"hastack_rabbit_unsynced_queues", "Quorum queues that lack a member.", gauge, nil, of(func(r *Rabbit) float64 { return float64(r.Unsynced) })},
		{"hastack_rabbit_messages", "Messages in all queues, delivered or not, that nobody has finished.", gauge, nil, of(func(r *Rabbit) float64 { return float64(r.Messages) })},
		{"hastack_rabbit_consumers", "Consumers of all queues.", gauge, nil, of(func(r *Rabbit) float64 { return float64(r.Consumers) })},
		{"hastack_rabbit_alarms", "Resource alarms of the broker; publishers wait while there is one.", gauge, nil, of(func(r *Rabbit) float64 { return float64(len(r.Alarms)) })},
	}
}

func peerFigures() []figure {
	of := func(value func(p *Peer) float64) func(*State, emit) {
		return func(s *State, e emit) {
			for i := range s.Peers {
				e(value(&s.Peers[i]), s.Peers[i].Name)
			}
		}
	}
	return []figure{
		{"hastack_peer_up", "1 if this server and the peer hear each other on the management network.", gauge, []string{"peer"}, of(func(p *Peer) float64 { return truth(p.Hears && p.Heard) })},
		{"hastack_peer_one_way", "1 if the peer is heard but does not hear this server.", gauge, []string{"peer"}, of(func(p *Peer) float64 { return truth(p.OneWay()) })},
		{"hastack_peer_rtt_seconds", "Time of a beat to the peer and back.", gauge, []string{"peer"}, func(s *State, e emit) {
			for i := range s.Peers {
				if p := &s.Peers[i]; p.RTT > 0 {
					e(p.RTT.Seconds(), p.Name)
				}
			}
		}},
	}
}
