package glance_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/glance"
)

func TestAnImageThatIsDeletedMeanwhileGetsNoMember(t *testing.T) {
	url := dbtest.URL(t)
	svc := restart(t, url, t.TempDir())
	v := glance.Viewer{ProjectID: project}
	for range 20 {
		img := &glance.Image{Visibility: glance.Shared}
		if err := svc.CreateImage(t.Context(), v, img); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for n := range 4 {
			wg.Go(func() {
				if _, err := svc.AddMember(t.Context(), img, fmt.Sprint("m", n)); err != nil && !fault.Is(err, fault.NotFound) {
					t.Errorf("add member: %v", err)
				}
			})
		}
		wg.Go(func() {
			if err := svc.DeleteImage(t.Context(), v, img.ID); err != nil {
				t.Errorf("delete: %v", err)
			}
		})
		wg.Wait()
	}
	left, err := dbtest.Open(t, db.Config{URL: url}, glance.Migrations).NewSelect().Table("image_members").Count(t.Context())
	if err != nil || left != 0 {
		t.Errorf("%d members of images that are gone, %v", left, err)
	}
}
