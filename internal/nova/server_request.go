package nova

import (
	"encoding/base64"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
)

// A ServerRequest is a POST /servers, free of its JSON.
type ServerRequest struct {
	Name, Hostname, Description string
	MinCount, MaxCount          int
	ImageID, FlavorID, KeyName  string
	UserData                    string // base64
	ConfigDrive                 bool
	DiskConfig                  string // AUTO, MANUAL or "" for AUTO
	AccessIPv4, AccessIPv6      string
	Metadata                    map[string]string
	Tags                        []string
	SecurityGroups              []string
	Networks                    []rpc.RequestedNetwork
	NoNetworks, AutoNetwork     bool
	Zone                        string
	ForceHost, ForceNode        string // administrators only; the API checks
	Hints                       map[string][]string
	Files                       []rpc.File

	// IdempotencyKey makes a repeated request return the servers of the first.
	IdempotencyKey string
	RequestID      string
}

// Bounds of a request, as Nova's.
const (
	maxUserData   = 65535 // bytes of base64
	maxTags       = 50
	maxTagLength  = 60
	maxNetworks   = 64
	maxSecGroups  = 64
	maxHints      = 64
	maxServersNew = 100 // servers of one request
)

var tagForm = regexp.MustCompile(`^[^,/]*$`)

// check refuses what needs no look at any other resource.
func (in *ServerRequest) check() error {
	if err := checkName("server name", in.Name); err != nil {
		return err
	}
	if in.Hostname != "" && (len(in.Hostname) > 63 || !hostnameForm.MatchString(in.Hostname)) {
		return fault.New(fault.BadRequest, "invalid input for field/attribute hostname: %q is not a host name", in.Hostname)
	}
	if utf8.RuneCountInString(in.Description) > 255 {
		return fault.New(fault.BadRequest, "invalid input for field/attribute description: it is longer than 255 characters")
	}
	if in.MinCount == 0 {
		in.MinCount = 1
	}
	if in.MaxCount == 0 {
		in.MaxCount = in.MinCount
	}
	switch {
	case in.MinCount < 1 || in.MaxCount < 1:
		return fault.New(fault.BadRequest, "min_count and max_count must be at least 1")
	case in.MinCount > in.MaxCount:
		return fault.New(fault.BadRequest, "min_count must be <= max_count")
	case in.MaxCount > maxServersNew:
		return fault.New(fault.BadRequest, "max_count must be at most %d", maxServersNew)
	case in.MaxCount > 1 && in.Hostname != "":
		return fault.New(fault.BadRequest, "a hostname cannot be given to more than one server")
	}
	if in.DiskConfig == "" {
		in.DiskConfig = "AUTO"
	}
	if in.DiskConfig != "AUTO" && in.DiskConfig != "MANUAL" {
		return fault.New(fault.BadRequest, "invalid input for field/attribute OS-DCF:diskConfig: %q is neither AUTO nor MANUAL", in.DiskConfig)
	}
	if err := checkUserData(in.UserData); err != nil {
		return err
	}
	if err := checkAccessIPs(in.AccessIPv4, in.AccessIPv6); err != nil {
		return err
	}
	var err error
	if in.Tags, err = checkTags(in.Tags); err != nil {
		return err
	}
	return in.checkLists()
}

func (in *ServerRequest) checkLists() error {
	if len(in.Networks) > maxNetworks || len(in.SecurityGroups) > maxSecGroups || len(in.Hints) > maxHints {
		return fault.New(fault.BadRequest, "a list in the request is too long (at most %d networks, %d security groups, %d hints)", maxNetworks, maxSecGroups, maxHints)
	}
	for _, n := range in.Networks {
		if n.PortID == "" && !ids.IsUUID(n.NetworkID) {
			return fault.New(fault.BadRequest, "Bad networks format: network uuid is not in proper format (%s)", n.NetworkID)
		}
		if n.FixedIP != "" {
			if _, err := netip.ParseAddr(n.FixedIP); err != nil {
				return fault.New(fault.BadRequest, "Invalid fixed IP address (%s)", n.FixedIP)
			}
		}
		if len(n.Tag) > maxTagLength || !tagForm.MatchString(n.Tag) {
			return fault.New(fault.BadRequest, "invalid input for field/attribute tag: %q", n.Tag)
		}
	}
	if in.MaxCount > 1 && slices.ContainsFunc(in.Networks, func(n rpc.RequestedNetwork) bool { return n.PortID != "" || n.FixedIP != "" }) {
		return fault.New(fault.BadRequest, "Unable to launch multiple instances with a single configured port ID or fixed IP. Please launch your instance one by one with different ports.")
	}
	return checkMetadata(in.Metadata)
}

func checkUserData(data string) error {
	if data == "" {
		return nil
	}
	if len(data) > maxUserData {
		return fault.New(fault.BadRequest, "User data too large. User data must be no larger than 64KB once base64 encoded. Your data is %d bytes", len(data))
	}
	if _, err := base64.StdEncoding.DecodeString(data); err != nil {
		return fault.New(fault.BadRequest, "Invalid input for field/attribute user_data: it is not base64")
	}
	return nil
}

func checkAccessIPs(v4, v6 string) error {
	if v4 != "" {
		if a, err := netip.ParseAddr(v4); err != nil || !a.Is4() {
			return fault.New(fault.BadRequest, "accessIPv4 is not proper IPv4 format")
		}
	}
	if v6 != "" {
		if a, err := netip.ParseAddr(v6); err != nil || !a.Is6() || a.Zone() != "" {
			return fault.New(fault.BadRequest, "accessIPv6 is not proper IPv6 format")
		}
	}
	return nil
}

// checkTags returns the tags sorted and once each.
func checkTags(tags []string) ([]string, error) {
	if len(tags) > maxTags {
		return nil, fault.New(fault.BadRequest, "The number of tags exceeded the per-server limit %d", maxTags)
	}
	for _, t := range tags {
		if err := CheckTag(t); err != nil {
			return nil, err
		}
	}
	out := slices.Clone(tags)
	slices.Sort(out)
	return slices.Compact(out), nil
}

// CheckTag refuses a tag that Nova refuses.
func CheckTag(t string) error {
	switch {
	case t == "" || utf8.RuneCountInString(t) > maxTagLength:
		return fault.New(fault.BadRequest, "Tag must have 1 to %d characters", maxTagLength)
	case !tagForm.MatchString(t):
		return fault.New(fault.BadRequest, "Tag %q must not have a slash or a comma", t)
	}
	return checkPrintable("tag", t)
}

var metadataKey = regexp.MustCompile(`^[a-zA-Z0-9-_:. ]{1,255}$`)

func checkMetadata(m map[string]string) error {
	for k, v := range m {
		if !metadataKey.MatchString(k) {
			return fault.New(fault.BadRequest, "Invalid input for field/attribute metadata: the key %.60q has other than letters, digits, '-', '_', ':', '.' and spaces, or is longer than 255", k)
		}
		if utf8.RuneCountInString(v) > 255 || strings.ContainsRune(v, 0) {
			return fault.New(fault.BadRequest, "Invalid input for field/attribute %s: the value is longer than 255 characters", k)
		}
	}
	return nil
}
