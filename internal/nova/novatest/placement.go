package novatest

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/hastack/hastack/internal/ids"
)

// placement serves providers, inventories, candidates and allocations.
func (n *Neighbours) placement(w http.ResponseWriter, r *http.Request, parts []string, body map[string]any) {
	switch parts[0] {
	case "resource_providers":
		n.serveProviders(w, r, parts, body)
	case "allocation_candidates":
		n.candidates(w, r)
	case "allocations":
		n.allocations(w, r, parts[1], body)
	default:
		w.WriteHeader(404)
	}
}

func (n *Neighbours) serveProviders(w http.ResponseWriter, r *http.Request, parts []string, body map[string]any) {
	if len(parts) == 1 {
		if r.Method == "POST" {
			p := &provider{ID: ids.UUID(), Name: body["name"].(string), Inventory: map[string]inventory{}}
			n.provs[p.ID] = p
			reply(w, 200, map[string]any{"uuid": p.ID, "name": p.Name, "generation": 0})
			return
		}
		list := []map[string]any{}
		for _, p := range n.provs {
			if p.Name == r.URL.Query().Get("name") {
				list = append(list, map[string]any{"uuid": p.ID, "name": p.Name, "generation": p.Generation})
			}
		}
		reply(w, 200, map[string]any{"resource_providers": list})
		return
	}
	p := n.provs[parts[1]]
	if p == nil {
		reply(w, 404, nil)
		return
	}
	if len(parts) > 2 && parts[2] == "inventories" && r.Method == "PUT" {
		p.Inventory = decodeInventory(body["inventories"])
		p.Generation++
	}
	reply(w, 200, map[string]any{"resource_provider_generation": p.Generation, "inventories": p.Inventory, "traits": []string{}})
}

func decodeInventory(v any) map[string]inventory {
	out := map[string]inventory{}
	if b, err := json.Marshal(v); err == nil {
		_ = json.Unmarshal(b, &out) // what does not fit is not an inventory
	}
	return out
}

func (i inventory) capacity() int { return int(float64(i.Total-i.Reserved) * i.Ratio) }

// used needs mu.
func (n *Neighbours) used(id, class, except string) int {
	sum := 0
	for consumer, c := range n.claims {
		if consumer != except {
			sum += c.Resources[id][class]
		}
	}
	return sum
}

func (n *Neighbours) fits(p *provider, want map[string]int, except string) bool {
	for class, amount := range want {
		if n.used(p.ID, class, except)+amount > p.Inventory[class].capacity() {
			return false
		}
	}
	return true
}

func (n *Neighbours) candidates(w http.ResponseWriter, r *http.Request) {
	want := map[string]int{}
	for part := range strings.SplitSeq(r.URL.Query().Get("resources"), ",") {
		class, amount, _ := strings.Cut(part, ":")
		want[class] = atoi(amount)
	}
	requests, summaries := []map[string]any{}, map[string]any{}
	for _, id := range sorted(n.provs) {
		p := n.provs[id]
		if !n.fits(p, want, "") {
			continue
		}
		requests = append(requests, map[string]any{"allocations": map[string]any{id: map[string]any{"resources": want}}})
		res := map[string]any{}
		for class, inv := range p.Inventory {
			res[class] = map[string]int{"capacity": inv.capacity(), "used": n.used(id, class, "")}
		}
		summaries[id] = map[string]any{"resources": res, "traits": []string{}}
	}
	reply(w, 200, map[string]any{"allocation_requests": requests, "provider_summaries": summaries})
}

func conflict(w http.ResponseWriter, code, detail string) {
	reply(w, 409, map[string]any{"errors": []map[string]any{{"status": 409, "code": code, "detail": detail}}})
}

func (n *Neighbours) allocations(w http.ResponseWriter, r *http.Request, id string, body map[string]any) {
	have := n.claims[id]
	switch r.Method {
	case "GET":
		out := map[string]any{"allocations": map[string]any{}}
		if have != nil {
			for p, res := range have.Resources {
				out["allocations"].(map[string]any)[p] = map[string]any{"resources": res}
			}
			out["consumer_generation"] = have.Generation
		}
		reply(w, 200, out)
	case "DELETE":
		if have == nil {
			reply(w, 404, nil)
			return
		}
		delete(n.claims, id)
		w.WriteHeader(204)
	case "PUT":
		gen, given := body["consumer_generation"].(float64)
		if have == nil && given || have != nil && (!given || int(gen) != have.Generation) {
			conflict(w, "placement.concurrent_update", "consumer generation conflict")
			return
		}
		c := &claim{Resources: map[string]map[string]int{}, Generation: 1}
		if have != nil {
			c.Generation = have.Generation + 1
		}
		for p, a := range body["allocations"].(map[string]any) {
			c.Resources[p] = map[string]int{}
			for class, v := range a.(map[string]any)["resources"].(map[string]any) {
				c.Resources[p][class] = int(v.(float64))
			}
			if n.provs[p] == nil || !n.fits(n.provs[p], c.Resources[p], id) {
				conflict(w, "placement.undefined_code", "Unable to allocate inventory: over capacity")
				return
			}
		}
		n.claims[id] = c
		w.WriteHeader(204)
	}
}
