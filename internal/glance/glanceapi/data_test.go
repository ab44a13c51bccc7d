package glanceapi_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/glance/glancetest"
)

// dataFiles are the files of image data under dir.
func dataFiles(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	for _, sub := range []string{"images", "partial"} {
		err := filepath.WalkDir(filepath.Join(dir, sub), func(p string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				out = append(out, p)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// clean asserts that an image is queued again and nothing of its data is left.
func clean(t *testing.T, c *glancetest.Cloud, id string) {
	t.Helper()
	img := c.Must(200, "member", "GET", "/v2/images/"+id, nil).JSON()
	if img["status"] != "queued" || img["size"] != nil || img["checksum"] != nil {
		t.Errorf("image is not clean: %v", img)
	}
	if files := dataFiles(t, c.Dir); len(files) != 0 {
		t.Errorf("files left: %v", files)
	}
}

func TestUploadRecordsWhatTheDataIs(t *testing.T) {
	c := glancetest.New(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // more than one chunk
	id := c.Create("member", nil)
	c.Must(204, "member", "GET", "/v2/images/"+id+"/file", nil)
	if r := c.Put("member", id, data); r.Status != 204 {
		t.Fatalf("upload: %d %s", r.Status, r.Body)
	}
	sum, md := sha512.Sum512(data), md5.Sum(data)
	img := c.Must(200, "member", "GET", "/v2/images/"+id, nil).JSON()
	for key, want := range map[string]any{
		"status": "active", "size": float64(len(data)), "virtual_size": float64(len(data)),
		"checksum": hex.EncodeToString(md[:]), "os_hash_algo": "sha512", "os_hash_value": hex.EncodeToString(sum[:]),
	} {
		if img[key] != want {
			t.Errorf("%s: got %v, want %v", key, img[key], want)
		}
	}
	r := c.Must(200, "member", "GET", "/v2/images/"+id+"/file", nil)
	if !bytes.Equal(r.Body, data) || r.Header.Get("Content-Md5") != img["checksum"] || r.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("download: %d bytes, %v", len(r.Body), r.Header)
	}
	if files := dataFiles(t, c.Dir); len(files) != 1 || !strings.Contains(files[0], "/images/") {
		t.Errorf("files: %v", files)
	}
}

// slow is a clock that is nearly a minute behind, so that the deadline of a
// stalled transfer comes a moment after its last piece.
type slow struct{ clock.Clock }

func (slow) Now() time.Time { return time.Now().UTC().Add(-60*time.Second + 200*time.Millisecond) }

func TestDeadlinesOfATransferEndWithIt(t *testing.T) {
	c := glancetest.New(t, glancetest.WithFrontClock(slow{clock.System}))
	id := c.Active("member", nil, "data")
	c.Must(200, "member", "GET", "/v2/images/"+id+"/file", nil)
	time.Sleep(400 * time.Millisecond)
	var reused bool
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
	req, err := http.NewRequestWithContext(ctx, "GET", c.URL+"/v2/images/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", "member")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("second request on the connection: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if b, err := io.ReadAll(resp.Body); err != nil || len(b) == 0 || !reused {
		t.Errorf("second request: %q %v, connection reused: %v", b, err, reused)
	}
	// A client that stops sending is not waited for.
	stalled := c.Create("member", nil)
	pr, pw := io.Pipe()
	go func() { _, _ = pw.Write([]byte("a little")) }()
	defer func() { _ = pw.Close() }()
	if r := c.Do("member", "PUT", "/v2/images/"+stalled+"/file", pr, "Content-Type", "application/octet-stream"); r.Status != 400 {
		t.Errorf("stalled upload: %d %s", r.Status, r.Body)
	}
	if got := c.Status("member", stalled); got != "queued" {
		t.Errorf("image after a stalled upload: %s", got)
	}
}

func TestRanges(t *testing.T) {
	c := glancetest.New(t)
	id := c.Active("member", nil, "0123456789")
	for spec, want := range map[string]string{
		"bytes=0-0": "0", "bytes=2-4": "234", "bytes=7-": "789", "bytes=-3": "789", "bytes=-99": "0123456789", "bytes=5-99": "56789",
	} {
		r := c.Must(206, "member", "GET", "/v2/images/"+id+"/file", nil, "Range", spec)
		if string(r.Body) != want || !strings.HasSuffix(r.Header.Get("Content-Range"), "/10") {
			t.Errorf("%s: %q, %s", spec, r.Body, r.Header.Get("Content-Range"))
		}
	}
	for _, spec := range []string{"bytes=10-", "bytes=4-2", "bytes=-0", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", "bytes=-", "bytes=99999999999999999999-"} {
		r := c.Must(416, "member", "GET", "/v2/images/"+id+"/file", nil, "Range", spec)
		if r.Header.Get("Content-Range") != "bytes */10" {
			t.Errorf("%s: %s", spec, r.Header.Get("Content-Range"))
		}
	}
}

func TestRefusedUploadsLeaveTheImageQueued(t *testing.T) {
	c := glancetest.New(t, glancetest.WithMaxBytes(3<<20))
	qcow := make([]byte, 300<<10)
	copy(qcow, "QFI\xfb")
	binary.BigEndian.PutUint32(qcow[4:], 3)
	binary.BigEndian.PutUint64(qcow[8:], 512)
	copy(qcow[512:], "/etc/passwd")
	id := c.Create("member", nil)
	for name, up := range map[string]struct {
		data any
		want int
	}{
		"backing file declared raw": {qcow, 400},
		"short backing file":        {qcow[:4096], 400},
		"vmdk declared raw":         {"KDMV" + strings.Repeat("x", 1000), 400},
		"vdi declared raw":          {vdi(), 415},
		"larger than the limit":     {make([]byte, 4<<20), 413},
		"larger, not announced":     {io.MultiReader(bytes.NewReader(make([]byte, 4<<20))), 413},
	} {
		r := c.Do("member", "PUT", "/v2/images/"+id+"/file", up.data, "Content-Type", "application/octet-stream")
		if r.Status != up.want {
			t.Errorf("%s: %d %s, want %d", name, r.Status, r.Body, up.want)
		}
		clean(t, c, id)
	}
	c.Must(415, "member", "PUT", "/v2/images/"+id+"/file", "x", "Content-Type", "text/plain")
	c.Must(403, "reader", "PUT", "/v2/images/"+id+"/file", "x", "Content-Type", "application/octet-stream")
	c.Must(404, "other", "PUT", "/v2/images/"+id+"/file", "x", "Content-Type", "application/octet-stream")
	bare := c.Must(201, "member", "POST", "/v2/images", `{"name":"no formats"}`).Text("id")
	if r := c.Put("member", bare, "x"); r.Status != 400 {
		t.Errorf("without formats: %d", r.Status)
	}
	if r := c.Put("member", id, "good"); r.Status != 204 {
		t.Errorf("a good upload after bad ones: %d %s", r.Status, r.Body)
	}
}

func vdi() []byte {
	b := make([]byte, 1024)
	copy(b[64:], "\x7f\x10\xda\xbe")
	binary.LittleEndian.PutUint16(b[70:], 1)
	binary.LittleEndian.PutUint32(b[76:], 1)
	return b
}

func TestSec04FormatMismatchThroughTheAPI(t *testing.T) {
	c := glancetest.New(t)
	for declared, data := range map[string]string{"qcow2": "plain bytes", "vmdk": "plain", "iso": "plain", "vhd": "plain"} {
		id := c.Create("member", map[string]any{"disk_format": declared})
		if r := c.Put("member", id, data); r.Status != 415 || !strings.Contains(r.Text("message"), "declared as "+declared) {
			t.Errorf("%s: %d %s", declared, r.Status, r.Body)
		}
		clean(t, c, id)
	}
	// Another container_format is no way around the check.
	id := c.Create("member", map[string]any{"container_format": "ova", "disk_format": "vdi"})
	if r := c.Put("member", id, vdi()); r.Status != 415 {
		t.Errorf("vdi in ova: %d %s", r.Status, r.Body)
	}
}

func TestClientThatGoesAwayLeavesNothing(t *testing.T) {
	c := glancetest.New(t)
	id := c.Create("member", nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "PUT /v2/images/%s/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: member\r\nContent-Type: application/octet-stream\r\nContent-Length: 5000000\r\n\r\n%s", id, strings.Repeat("x", 2_000_000))
	waitFor(t, "the upload to start", func() bool { return c.Status("member", id) == "saving" })
	if r := c.Put("member", id, "second"); r.Status != 409 {
		t.Errorf("second upload beside the first: %d", r.Status)
	}
	_ = conn.Close()
	waitFor(t, "the image to be queued again", func() bool { return c.Status("member", id) == "queued" })
	waitFor(t, "the file to go", func() bool { return len(dataFiles(t, c.Dir)) == 0 })
	clean(t, c, id)
}

func TestSec16DeleteDuringUploadLeavesNoData(t *testing.T) {
	c := glancetest.New(t)
	id := c.Create("member", nil)
	pr, pw := io.Pipe()
	done := make(chan int)
	go func() {
		done <- c.Do("member", "PUT", "/v2/images/"+id+"/file", pr, "Content-Type", "application/octet-stream").Status
	}()
	if _, err := pw.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the upload to start", func() bool { return c.Status("member", id) == "saving" })
	c.Must(204, "member", "DELETE", "/v2/images/"+id, nil)
	_ = pw.Close()
	if got := <-done; got != 410 {
		t.Errorf("upload of a deleted image: %d", got)
	}
	if files := dataFiles(t, c.Dir); len(files) != 0 {
		t.Errorf("files left: %v", files)
	}
	if err := c.Service.Sweep(context.Background()); err != nil {
		t.Error(err)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}

func TestFaultsAtEveryStepOfAnUpload(t *testing.T) {
	for _, step := range []string{"claim.before-effect", "claim.after-effect", "write.before-effect", "write.after-effect", "publish.before-effect", "publish.after-effect", "activate.before-effect"} {
		t.Run(step, func(t *testing.T) {
			c := glancetest.New(t)
			id := c.Create("member", nil)
			if err := failpoint.Arm("glance.upload." + step + "=error"); err != nil {
				t.Fatal(err)
			}
			r := c.Put("member", id, "data")
			failpoint.Disarm()
			if r.Status != 500 {
				t.Errorf("status %d", r.Status)
			}
			if step == "claim.after-effect" { // nobody is left to clean: as after a crash
				if err := c.Service.Sweep(context.Background()); err != nil {
					t.Fatal(err)
				}
				if got := c.Status("member", id); got != "saving" {
					t.Errorf("a live upload was swept: %s", got)
				}
				return
			}
			clean(t, c, id)
			if r := c.Put("member", id, "data"); r.Status != 204 {
				t.Errorf("upload after the fault: %d %s", r.Status, r.Body)
			}
		})
	}
}

func TestLostReplyKeepsTheActiveImage(t *testing.T) {
	c := glancetest.New(t)
	id := c.Create("member", nil)
	if err := failpoint.Arm("glance.upload.activate.after-effect=drop"); err != nil {
		t.Fatal(err)
	}
	c.Put("member", id, "data")
	failpoint.Disarm()
	if r := c.Must(200, "member", "GET", "/v2/images/"+id+"/file", nil); string(r.Body) != "data" {
		t.Errorf("data %q", r.Body)
	}
}

func TestDeletionIsFinishedByTheJanitor(t *testing.T) {
	for _, step := range []string{"record.after-effect", "data.before-effect", "data.after-effect", "forget.after-effect"} {
		t.Run(step, func(t *testing.T) {
			c := glancetest.New(t)
			id := c.Active("member", nil, "data")
			if err := failpoint.Arm("glance.delete." + step + "=error"); err != nil {
				t.Fatal(err)
			}
			c.Must(204, "member", "DELETE", "/v2/images/"+id, nil)
			failpoint.Disarm()
			c.Must(404, "member", "GET", "/v2/images/"+id, nil)
			if err := c.Service.Sweep(context.Background()); err != nil {
				t.Fatal(err)
			}
			if files := dataFiles(t, c.Dir); len(files) != 0 {
				t.Errorf("files left: %v", files)
			}
			if n, err := c.DB.NewSelect().Table("deleted_images").Where("location <> ''").Count(context.Background()); n != 0 || err != nil {
				t.Errorf("%d deletions are not finished, %v", n, err)
			}
		})
	}
}

func TestStagedDataBecomesActiveByImport(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c := glancetest.New(t, glancetest.WithClock(clk))
	id := c.Create("member", nil)
	path := "/v2/images/" + id
	direct := map[string]any{"method": map[string]string{"name": "glance-direct"}}
	c.Must(409, "member", "POST", path+"/import", direct)
	c.Must(204, "member", "PUT", path+"/stage", "data", "Content-Type", "application/octet-stream")
	if img := c.Must(200, "member", "GET", path, nil).JSON(); img["status"] != "uploading" || img["checksum"] != nil {
		t.Errorf("staged: %v", img)
	}
	c.Must(204, "member", "GET", path+"/file", nil)
	c.Must(501, "member", "POST", path+"/import", map[string]any{"method": map[string]string{"name": "copy-image"}})
	c.Must(400, "member", "POST", path+"/import", map[string]any{"method": map[string]string{"name": "magic"}})
	c.Must(202, "member", "POST", path+"/import", direct)
	if r := c.Must(200, "member", "GET", path+"/file", nil); string(r.Body) != "data" {
		t.Errorf("data %q", r.Body)
	}
	forgotten := c.Create("member", nil)
	c.Must(204, "member", "PUT", "/v2/images/"+forgotten+"/stage", "data", "Content-Type", "application/octet-stream")
	clk.Advance(25 * time.Hour)
	if err := c.Service.Sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := c.Status("member", forgotten); got != "queued" {
		t.Errorf("forgotten staging is %s", got)
	}
	if files := dataFiles(t, c.Dir); len(files) != 1 {
		t.Errorf("files: %v", files)
	}
}

func TestFullDiskGivesACleanState(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no tmpfs here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	c := glancetest.New(t, glancetest.WithDir(dir))
	id := c.Create("member", nil)
	if r := c.Put("member", id, make([]byte, 3<<20)); r.Status != 413 || !strings.Contains(r.Text("message"), "full") {
		t.Errorf("full disk: %d %s", r.Status, r.Body)
	}
	clean(t, c, id)
	if r := c.Put("member", id, "small"); r.Status != 204 {
		t.Errorf("small upload afterwards: %d %s", r.Status, r.Body)
	}
}
