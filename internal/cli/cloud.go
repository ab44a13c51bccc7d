package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/config"
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
func (a *app) isCluster() bool { return holdsCluster(a.stateDir) }

// isUndeployed tells whether --state-dir names the directory of a cluster whose
// first deployment was refused: it has an authority and no topology.
func (a *app) isUndeployed() bool {
	_, err := os.Stat(filepath.Join(a.stateDir, "ca.pem"))
	return err == nil && !a.isCluster()
}

func holdsCluster(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, cluster.TopologyFile))
	return err == nil
}

// useCluster makes --cluster-dir, or the only cluster of a state directory
// without a cloud of its own, what --state-dir names.
func (a *app) useCluster(f clusterFlag) error {
	if f.dir != "" {
		if !holdsCluster(f.dir) {
			return fmt.Errorf("there is no cluster in %s: deploy one (hastack deploy TOPOLOGY --cluster-dir %s)", f.dir, f.dir)
		}
		abs, err := filepath.Abs(f.dir)
		a.stateDir = abs
		return err
	}
	if _, err := os.Stat(configFile(a.stateDir)); err == nil || a.isCluster() {
		return nil
	}
	found, err := filepath.Glob(filepath.Join(a.stateDir, "clusters", "*", cluster.TopologyFile))
	switch {
	case err != nil || len(found) == 0:
		return err
	case len(found) > 1:
		return usageError{fmt.Errorf("there are %d clusters in %s: name the directory of one (--cluster-dir)", len(found), filepath.Join(a.stateDir, "clusters"))}
	}
	a.stateDir = filepath.Dir(found[0])
	return nil
}

// onCluster lets a client command be told which cluster it is about.
func (a *app) onCluster(cmd *cobra.Command) *cobra.Command {
	var at clusterFlag
	at.add(cmd)
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.useCluster(at); err != nil {
			return err
		}
		return run(cmd, args)
	}
	return cmd
}

// openCluster opens the cluster directory that --state-dir names, and moves
// into the operator's namespace when the cluster is a lab's.
func (a *app) openCluster() (*cluster.Dir, error) {
	d, err := cluster.Open(a.stateDir)
	if err != nil {
		return nil, err
	}
	return d, enterLab(a.labState(), d.Topology.Name, a.stateDir)
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
