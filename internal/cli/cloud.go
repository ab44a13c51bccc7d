package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/lab"
)

// A cloud is what the client commands talk to: the one-machine cloud of a state
// directory, or the cluster of a cluster directory.
type cloud struct {
	authURL, region      string
	computeURL, auditURL string
	admin, demo          config.Secret
	cloudsFile           string
	caFile               string // "" in the clear
	transport            http.RoundTripper
	cluster              *cluster.Dir // nil on one machine
}

// isCluster tells whether --state-dir names a cluster directory.
func (a *app) isCluster() bool {
	_, err := os.Stat(filepath.Join(a.stateDir, cluster.TopologyFile))
	return err == nil
}

// openCluster opens the cluster directory that --state-dir names, and moves
// into the operator's namespace when the cluster is a lab's.
func (a *app) openCluster() (*cluster.Dir, error) {
	d, err := cluster.Open(a.stateDir)
	if err != nil {
		return nil, err
	}
	return d, lab.Enter(a.labState(), d.Topology.Name)
}

// labState is the state directory that holds the labs: the one that the cluster
// directory is in (STATE/clusters/NAME), or the default.
func (a *app) labState() string {
	if parent := filepath.Dir(a.stateDir); filepath.Base(parent) == "clusters" {
		return filepath.Dir(parent)
	}
	return DefaultStateDir
}

// cloud finds the cloud of the state directory.
func (a *app) cloud() (*cloud, error) {
	if a.isCluster() {
		d, err := a.openCluster()
		if err != nil {
			return nil, err
		}
		return clusterCloud(d), nil
	}
	cfg, err := config.Load(configFile(a.stateDir))
	if err != nil {
		return nil, fmt.Errorf("there is no cloud in %s: start one (hastack up), or name a cluster's directory (--state-dir)", a.stateDir)
	}
	secrets, err := config.LoadSecrets(a.stateDir)
	if err != nil {
		return nil, err
	}
	return &cloud{
		authURL: cfg.AuthURL(), region: cfg.Region, computeURL: cfg.Endpoints["compute"], auditURL: "http://" + cfg.Listen + "/audit",
		admin: secrets.AdminPassword, demo: secrets.DemoPassword, cloudsFile: cloudsFile(a.stateDir),
		transport: http.DefaultTransport,
	}, nil
}

func clusterCloud(d *cluster.Dir) *cloud {
	return &cloud{
		authURL: d.PublicURL() + "/identity/v3", region: d.Topology.Region, computeURL: d.PublicURL() + "/compute",
		auditURL: d.InternalURL() + "/audit", admin: d.Secrets.AdminPassword, demo: d.Secrets.DemoPassword,
		cloudsFile: d.CloudsFile(), caFile: d.CAFile(), transport: d.HTTPClient(time.Minute).Transport, cluster: d,
	}
}

// refuseCluster is the answer of commands that only one machine has.
func (a *app) refuseCluster(what string) error {
	if !a.isCluster() {
		return nil
	}
	return usageError{fmt.Errorf("%s is the directory of a cluster: %s is for the cloud on one machine; stop a lab with hastack lab down", a.stateDir, what)}
}
