// Package crash kills a cloud at every named point of a boot and of a deletion
// and looks at what the next start makes of it: what was asked, or nothing.
package crash

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// moments are around each step's effect; see package failpoint.
var moments = [...]string{"before-effect", "after-effect", "after-record"}

// Settle is how long a restarted cloud may take to finish or undo.
const settle = 60 * time.Second

func bootPoints() []string {
	var points []string
	for n := 1; n <= 28; n++ {
		for _, m := range moments {
			points = append(points, "nova.boot."+strconv.Itoa(n)+"."+m)
		}
	}
	return points
}

func deletePoints() []string {
	var points []string
	for _, step := range [...]string{"host", "ports", "allocation"} {
		for _, m := range moments {
			points = append(points, "nova.delete."+step+"."+m)
		}
	}
	return points
}

func start(t *testing.T) *cloud {
	t.Helper()
	bin := os.Getenv("HASTACK_BIN")
	if bin == "" {
		t.Skip("HASTACK_BIN does not name the binary to crash")
	}
	driver := os.Getenv("HASTACK_CRASH_DRIVER")
	if driver == "" {
		driver = "fake"
	}
	return newCloud(t, bin, driver)
}

func TestACrashAtAnyStepOfABootLeavesAServerOrNothing(t *testing.T) {
	c := start(t)
	for _, point := range chosen(bootPoints()) {
		t.Run(point, func(t *testing.T) {
			c.serve(t, point+"=crash")
			id, acknowledged := c.boot(t)
			c.awaitCrash(t)
			c.serve(t, "")
			c.settled(t, id, acknowledged)
			c.deleteAll(t)
			c.auditEmpty(t)
			c.stop(t)
		})
	}
}

func TestACrashAtAnyStepOfADeletionEndsInNothing(t *testing.T) {
	c := start(t)
	for _, point := range chosen(deletePoints()) {
		t.Run(point, func(t *testing.T) {
			c.serve(t, "")
			id, _ := c.boot(t)
			c.settled(t, id, true)
			c.stop(t)
			c.serve(t, point+"=crash")
			acknowledged := c.delete(id)
			c.awaitCrash(t)
			c.serve(t, "")
			if !acknowledged {
				c.delete(id)
			}
			c.gone(t, id)
			c.auditEmpty(t)
			c.stop(t)
		})
	}
}
