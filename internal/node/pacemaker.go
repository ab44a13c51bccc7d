package node

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// pacemakerCollector asks the cluster manager for its members and resources.
type pacemakerCollector struct {
	status func(ctx context.Context) ([]byte, error)
}

func (pacemakerCollector) Name() string         { return "pacemaker" }
func (pacemakerCollector) Every() time.Duration { return 10 * time.Second }

// crmStatus starts crm_mon: there is no other stable way to ask.
func crmStatus(ctx context.Context) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "crm_mon", "--one-shot", "--output-as=xml")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("crm_mon: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// crmResource is a resource and the members that run it.
type crmResource struct {
	ID    string `xml:"id,attr"`
	Nodes []struct {
		Name string `xml:"name,attr"`
	} `xml:"node"`
}

// Collect reads what crm_mon says.
func (c pacemakerCollector) Collect(ctx context.Context) (Facts, error) {
	out, err := c.status(ctx)
	if err != nil {
		return nil, err
	}
	var v struct {
		DC struct {
			Name   string `xml:"name,attr"`
			Quorum bool   `xml:"with_quorum,attr"`
		} `xml:"summary>current_dc"`
		Nodes []struct {
			Name   string `xml:"name,attr"`
			Online bool   `xml:"online,attr"`
		} `xml:"nodes>node"`
		Resources []crmResource `xml:"resources>resource"`
		Grouped   []crmResource `xml:"resources>group>resource"`
		Failures  []struct {
			Key  string `xml:"op_key,attr"`
			Node string `xml:"node,attr"`
		} `xml:"failures>failure"`
	}
	if err := xml.Unmarshal(out, &v); err != nil {
		return nil, fmt.Errorf("read crm_mon: %w", err)
	}
	if len(v.Nodes) == 0 {
		return nil, errors.New("crm_mon shows no members")
	}
	p := &Pacemaker{Quorate: v.DC.Quorum, DC: v.DC.Name, Resources: map[string]string{}}
	for _, n := range v.Nodes {
		if n.Online {
			p.Online = append(p.Online, n.Name)
		} else {
			p.Offline = append(p.Offline, n.Name)
		}
	}
	for _, r := range append(v.Resources, v.Grouped...) {
		p.Resources[r.ID] = ""
		if len(r.Nodes) > 0 {
			p.Resources[r.ID] = r.Nodes[0].Name
		}
	}
	for _, f := range v.Failures {
		p.Failed = append(p.Failed, f.Key+" on "+f.Node)
	}
	return func(s *State) { s.Pacemaker = p }, nil
}
