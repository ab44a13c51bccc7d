package glance_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/glance"
)

// victimEnv makes the test binary a process that uploads or deletes image
// victimID and dies at the armed failpoint.
const (
	victimEnv = "GLANCE_TEST_VICTIM"
	victimID  = "b2173dd3-7ad6-4362-baa6-a68bce3565cb"
	project   = "p1"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(victimEnv); what != "" {
		if err := victim(what); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func victim(what string) error {
	ctx := context.Background()
	d, err := db.Open(ctx, db.Config{URL: os.Getenv("GLANCE_TEST_DB")})
	if err != nil {
		return err
	}
	svc, err := glance.New(glance.Config{Dir: os.Getenv("GLANCE_TEST_DIR")}, glance.Deps{DB: d})
	if err != nil {
		return err
	}
	v := glance.Viewer{ProjectID: project}
	if what == "delete" {
		return svc.DeleteImage(ctx, v, victimID)
	}
	img, err := svc.Image(ctx, v, victimID)
	if err != nil {
		return err
	}
	return svc.Upload(ctx, img, bytes.NewReader(make([]byte, 3<<20)), -1)
}

// crash runs the victim until it kills itself at point.
func crash(t *testing.T, what, point, url, dir string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"="+what, "GLANCE_TEST_DB="+url, "GLANCE_TEST_DIR="+dir, failpoint.Env+"="+point+"=crash")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != failpoint.CrashCode {
		t.Fatalf("%s did not crash at %s: %v %s", what, point, err, out)
	}
}

func files(t *testing.T, dir string) (n int) {
	t.Helper()
	for _, sub := range []string{"images", "partial"} {
		_ = filepath.WalkDir(filepath.Join(dir, sub), func(_ string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				n++
			}
			return err
		})
	}
	return n
}

func restart(t *testing.T, url, dir string) *glance.Service {
	t.Helper()
	svc, err := glance.New(glance.Config{Dir: dir}, glance.Deps{DB: dbtest.Open(t, db.Config{URL: url}, glance.Migrations)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = svc.Close() })
	return svc
}

func newImage(t *testing.T, svc *glance.Service) *glance.Image {
	t.Helper()
	raw, bare := "raw", "bare"
	img := &glance.Image{ID: victimID, DiskFormat: &raw, ContainerFormat: &bare}
	if err := svc.CreateImage(t.Context(), glance.Viewer{ProjectID: project}, img); err != nil {
		t.Fatal(err)
	}
	return img
}

func TestCrashDuringUploadGivesAQueuedImageAfterRestart(t *testing.T) {
	v := glance.Viewer{ProjectID: project}
	for _, point := range []string{"claim.before-effect", "claim.after-effect", "write.before-effect", "write.after-effect",
		"publish.before-effect", "publish.after-effect", "activate.before-effect", "activate.after-effect"} {
		t.Run(point, func(t *testing.T) {
			url, dir := dbtest.URL(t), t.TempDir()
			svc := restart(t, url, dir)
			newImage(t, svc)
			crash(t, "upload", "glance.upload."+point, url, dir)
			// The survivor beside it sees the same as one that starts anew.
			if err := svc.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			img, err := svc.Image(t.Context(), v, victimID)
			if err != nil {
				t.Fatal(err)
			}
			if point == "activate.after-effect" {
				if img.Status != glance.StatusActive || files(t, dir) != 1 {
					t.Errorf("only the reply was lost, but the image is %s with %d files", img.Status, files(t, dir))
				}
				return
			}
			if img.Status != glance.StatusQueued || img.Size != nil || img.Location != "" || files(t, dir) != 0 {
				t.Errorf("after the crash: status %s, location %q, %d files", img.Status, img.Location, files(t, dir))
			}
			if err := svc.Upload(t.Context(), img, bytes.NewReader([]byte("again")), 5); err != nil {
				t.Errorf("upload after the crash: %v", err)
			}
			if n := files(t, dir); n != 1 {
				t.Errorf("%d files after the second upload", n)
			}
		})
	}
}

func TestCrashDuringDeleteIsFinishedAfterRestart(t *testing.T) {
	v := glance.Viewer{ProjectID: project}
	for _, point := range []string{"record.before-effect", "record.after-effect", "data.before-effect", "data.after-effect", "forget.after-effect"} {
		t.Run(point, func(t *testing.T) {
			url, dir := dbtest.URL(t), t.TempDir()
			svc := restart(t, url, dir)
			img := newImage(t, svc)
			if err := svc.Upload(t.Context(), img, bytes.NewReader([]byte("data")), 4); err != nil {
				t.Fatal(err)
			}
			crash(t, "delete", "glance.delete."+point, url, dir)
			if err := svc.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			img, err := svc.Image(t.Context(), v, victimID)
			if point == "record.before-effect" {
				if err != nil || img.Status != glance.StatusActive || files(t, dir) != 1 {
					t.Errorf("nothing was recorded, but: %v, %d files", err, files(t, dir))
				}
				return
			}
			if err == nil || files(t, dir) != 0 {
				t.Errorf("the deletion was recorded, but: %v, %d files", err, files(t, dir))
			}
		})
	}
}

// TestSec04FormatCannotChangeUnderAnUpload: the data is held against the format
// that the image has, not the one it had when the upload asked.
func TestSec04FormatCannotChangeUnderAnUpload(t *testing.T) {
	svc := restart(t, dbtest.URL(t), t.TempDir())
	v := glance.Viewer{ProjectID: project}
	stale := newImage(t, svc)
	if _, err := svc.UpdateImage(t.Context(), v, victimID, []glance.Change{{Op: "replace", Name: "disk_format", Value: "qcow2"}}); err != nil {
		t.Fatal(err)
	}
	if err := svc.Upload(t.Context(), stale, bytes.NewReader([]byte("plain")), 5); !fault.Is(err, fault.UnsupportedMedia) {
		t.Errorf("plain data as qcow2: %v", err)
	}
	if img, err := svc.Image(t.Context(), v, victimID); err != nil || img.Status != glance.StatusQueued {
		t.Errorf("after the refusal: %v %v", img, err)
	}
}

func TestTokensOfNoProjectOwnNothing(t *testing.T) {
	svc := restart(t, dbtest.URL(t), t.TempDir())
	newImage(t, svc)
	nobody := glance.Viewer{}
	for _, visibility := range []string{"", "all", glance.Private, glance.Shared, glance.Public, glance.Community} {
		list, _, err := svc.Images(t.Context(), nobody, glance.ImageFilter{Visibility: visibility}, glance.ImagePage{Limit: 10})
		if err != nil || len(list) != 0 {
			t.Errorf("visibility %q: %d images, %v", visibility, len(list), err)
		}
	}
	if err := svc.CreateImage(t.Context(), nobody, &glance.Image{}); !fault.Is(err, fault.BadRequest) {
		t.Errorf("image without owner: %v", err)
	}
}
