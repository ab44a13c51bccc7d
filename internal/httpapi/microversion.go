package httpapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/hastack/hastack/internal/fault"
)

// A Microversion is a major.minor version of an API, compared as two numbers.
type Microversion struct{ Major, Minor int }

func (v Microversion) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// AtLeast tells whether v is major.minor or later.
func (v Microversion) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// Before tells whether v is earlier than major.minor.
func (v Microversion) Before(major, minor int) bool { return !v.AtLeast(major, minor) }

// ParseMicroversion reads "2.53"; it refuses signs, spaces and leading zeros.
func ParseMicroversion(s string) (Microversion, error) {
	major, minor, ok := strings.Cut(s, ".")
	a, okA := versionNumber(major)
	b, okB := versionNumber(minor)
	if !ok || !okA || !okB || a == 0 {
		return Microversion{}, fault.New(fault.BadRequest, "version string %q is not of the form MAJOR.MINOR", s)
	}
	return Microversion{a, b}, nil
}

func versionNumber(s string) (int, bool) {
	if s == "" || len(s) > 6 || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err == nil
}

// A MicroversionRange says which microversions an API serves and by which
// headers they are asked for.
type MicroversionRange struct {
	Type         string // service type in OpenStack-API-Version, as "compute"
	Min, Max     Microversion
	LegacyHeader string // an older header of the same meaning, "" if none
}

// negotiate picks the version of a request: the minimum when none is asked.
func (m *MicroversionRange) negotiate(h http.Header) (Microversion, error) {
	asked := ""
	for _, value := range h.Values("Openstack-Api-Version") {
		for part := range strings.SplitSeq(value, ",") {
			if f := strings.Fields(part); len(f) == 2 && strings.EqualFold(f[0], m.Type) {
				asked = f[1]
			}
		}
	}
	if asked == "" && m.LegacyHeader != "" {
		asked = strings.TrimSpace(h.Get(m.LegacyHeader))
	}
	switch {
	case asked == "":
		return m.Min, nil
	case strings.EqualFold(asked, "latest"):
		return m.Max, nil
	}
	v, err := ParseMicroversion(asked)
	if err != nil {
		return v, err
	}
	if v.Before(m.Min.Major, m.Min.Minor) || !m.Max.AtLeast(v.Major, v.Minor) {
		return v, fault.New(fault.NotAcceptable,
			"version %s is not supported by the API; minimum is %s and maximum is %s", v, m.Min, m.Max)
	}
	return v, nil
}

func (m *MicroversionRange) writeHeaders(h http.Header, v Microversion) {
	h.Set("Openstack-Api-Version", m.Type+" "+v.String())
	h.Add("Vary", "OpenStack-API-Version")
	if m.LegacyHeader != "" {
		h.Set(m.LegacyHeader, v.String())
		h.Add("Vary", m.LegacyHeader)
	}
}
