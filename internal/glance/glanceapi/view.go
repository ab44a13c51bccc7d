package glanceapi

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/hastack/hastack/internal/glance"
)

const timeForm = "2006-01-02T15:04:05Z"

// appendImage writes an image as JSON. It is written by hand because custom
// properties stand beside the fixed attributes, and lists of images are the
// hottest answer of this API.
func appendImage(b []byte, img *glance.Image) []byte {
	b = appendText(append(b, `{"id":`...), img.ID)
	b = appendOptional(append(b, `,"name":`...), img.Name)
	b = appendText(append(b, `,"status":`...), img.Status)
	b = appendText(append(b, `,"visibility":`...), img.Visibility)
	b = appendOptional(append(b, `,"disk_format":`...), img.DiskFormat)
	b = appendOptional(append(b, `,"container_format":`...), img.ContainerFormat)
	b = appendText(append(b, `,"owner":`...), img.Owner)
	// Staged data is not the image's yet.
	size, virtual, checksum, algo, value := img.Size, img.VirtualSize, img.Checksum, img.OSHashAlgo, img.OSHashValue
	if img.Status == glance.StatusUploading {
		virtual, checksum, algo, value = nil, nil, nil, nil
	}
	b = appendNumber(append(b, `,"size":`...), size)
	b = appendNumber(append(b, `,"virtual_size":`...), virtual)
	b = appendOptional(append(b, `,"checksum":`...), checksum)
	b = appendOptional(append(b, `,"os_hash_algo":`...), algo)
	b = appendOptional(append(b, `,"os_hash_value":`...), value)
	b = strconv.AppendInt(append(b, `,"min_disk":`...), img.MinDisk, 10)
	b = strconv.AppendInt(append(b, `,"min_ram":`...), img.MinRAM, 10)
	b = strconv.AppendBool(append(b, `,"protected":`...), img.Protected)
	b = strconv.AppendBool(append(b, `,"os_hidden":`...), img.OSHidden)
	b = append(b, `,"tags":[`...)
	for i, tag := range img.Tags {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, tag)
	}
	b = append(b, ']')
	b = appendTime(append(b, `,"created_at":`...), img.CreatedAt)
	b = appendTime(append(b, `,"updated_at":`...), img.UpdatedAt)
	b = appendText(append(b, `,"self":`...), "/v2/images/"+img.ID)
	b = appendText(append(b, `,"file":`...), "/v2/images/"+img.ID+"/file")
	b = append(b, `,"schema":"/v2/schemas/image"`...)
	for _, name := range slices.Sorted(maps.Keys(img.Properties)) {
		b = appendText(append(b, ','), name)
		b = appendText(append(b, ':'), img.Properties[name])
	}
	return append(b, '}')
}

// appendText quotes s for JSON.
func appendText(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, err := json.Marshal(s)
			if err != nil {
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendOptional(b []byte, s *string) []byte {
	if s == nil {
		return append(b, "null"...)
	}
	return appendText(b, *s)
}

func appendNumber(b []byte, n *int64) []byte {
	if n == nil {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, *n, 10)
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, timeForm)
	return append(b, '"')
}

type memberView struct {
	CreatedAt string `json:"created_at"`
	ImageID   string `json:"image_id"`
	MemberID  string `json:"member_id"`
	Schema    string `json:"schema"`
	Status    string `json:"status"`
	UpdatedAt string `json:"updated_at"`
}

func viewMember(m *glance.Member) memberView {
	return memberView{
		CreatedAt: m.CreatedAt.UTC().Format(timeForm), UpdatedAt: m.UpdatedAt.UTC().Format(timeForm),
		ImageID: m.ImageID, MemberID: m.Member, Status: m.Status, Schema: "/v2/schemas/member",
	}
}
