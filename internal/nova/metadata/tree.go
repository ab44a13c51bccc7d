package metadata

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/hastack/hastack/internal/nova/rpc"
)

// Domain is appended to host names that have none.
const Domain = "novalocal"

// openstackVersions are the trees below /openstack, oldest first. All hold the
// newest content: a reader of an older one ignores what it does not know.
var openstackVersions = []string{"2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15",
	"2016-06-30", "2016-10-06", "2017-02-22", "2018-08-27", "2020-10-14", "latest"}

// ec2Versions are the trees at the root.
var ec2Versions = []string{"1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10",
	"2007-12-15", "2008-02-01", "2008-09-01", "2009-04-04", "latest"}

// driveVersions are what the config drive holds of openstackVersions: the
// oldest that cloud-init asks for, the newest that it knows, and the latest.
var driveVersions = []string{"2012-08-10", "2018-08-27", "latest"}

// fqdn is the full name of the guest.
func fqdn(s *rpc.ServerSpec) string {
	if strings.Contains(s.Hostname, ".") {
		return s.Hostname
	}
	return s.Hostname + "." + Domain
}

// DriveFiles are the files of a server's config drive.
func DriveFiles(s *rpc.ServerSpec) (map[string][]byte, error) {
	files := map[string][]byte{}
	content, err := openstackFiles(s)
	if err != nil {
		return nil, err
	}
	for _, v := range driveVersions {
		for name, b := range content {
			files["openstack/"+v+"/"+name] = b
		}
	}
	for i, f := range s.Files {
		files["openstack/content/"+contentName(i)] = f.Contents
	}
	ec2, err := json.MarshalIndent(ec2Document(s), "", "  ")
	if err != nil {
		return nil, err
	}
	for _, v := range []string{"2009-04-04", "latest"} {
		files["ec2/"+v+"/meta-data.json"] = ec2
		if len(s.UserData) > 0 {
			files["ec2/"+v+"/user-data"] = s.UserData
		}
	}
	return files, nil
}

// openstackFiles is the content of one version's folder.
func openstackFiles(s *rpc.ServerSpec) (map[string][]byte, error) {
	meta, err := json.Marshal(metaData(s))
	if err != nil {
		return nil, err
	}
	network, err := json.Marshal(networkData(s.Networks))
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{"meta_data.json": meta, "network_data.json": network,
		"vendor_data.json": []byte("{}"), "vendor_data2.json": []byte("{}")}
	if len(s.UserData) > 0 {
		out["user_data"] = s.UserData
	}
	return out, nil
}

func contentName(i int) string {
	const digits = "0123456789"
	return "00" + string(digits[i/10%10]) + string(digits[i%10])
}

type metaDocument struct {
	UUID             string            `json:"uuid"`
	Name             string            `json:"name"`
	Hostname         string            `json:"hostname"`
	LaunchIndex      int               `json:"launch_index"`
	AvailabilityZone string            `json:"availability_zone"`
	ProjectID        string            `json:"project_id"`
	Meta             map[string]string `json:"meta,omitempty"`
	PublicKeys       map[string]string `json:"public_keys,omitempty"`
	Keys             []metaKey         `json:"keys,omitempty"`
	Files            []metaFile        `json:"files,omitempty"`
	RandomSeed       string            `json:"random_seed"`
	Devices          []metaDevice      `json:"devices"`
	DedicatedCPUs    []int             `json:"dedicated_cpus"`
}

type metaKey struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Data string `json:"data"`
}

type metaFile struct {
	Path        string `json:"path"`
	ContentPath string `json:"content_path"`
}

type metaDevice struct {
	Type string   `json:"type"`
	Bus  string   `json:"bus"`
	MAC  string   `json:"mac"`
	Tags []string `json:"tags"`
}

func metaData(s *rpc.ServerSpec) metaDocument {
	seed := make([]byte, 512)
	_, _ = rand.Read(seed) // never fails
	d := metaDocument{UUID: s.ID, Name: s.Name, Hostname: fqdn(s), LaunchIndex: s.LaunchIndex,
		AvailabilityZone: s.AvailabilityZone, ProjectID: s.ProjectID, Meta: s.Metadata,
		RandomSeed: base64.StdEncoding.EncodeToString(seed), Devices: []metaDevice{}, DedicatedCPUs: []int{}}
	if s.Key.Name != "" {
		kind := s.Key.Type
		if kind == "" {
			kind = "ssh"
		}
		d.PublicKeys = map[string]string{s.Key.Name: s.Key.PublicKey}
		d.Keys = []metaKey{{Name: s.Key.Name, Type: kind, Data: s.Key.PublicKey}}
	}
	for i, f := range s.Files {
		d.Files = append(d.Files, metaFile{Path: f.Path, ContentPath: "/content/" + contentName(i)})
	}
	for _, v := range s.Networks {
		if v.Tag != "" {
			d.Devices = append(d.Devices, metaDevice{Type: "nic", Bus: "none", MAC: v.MAC, Tags: []string{v.Tag}})
		}
	}
	return d
}
