package nova

import (
	"context"

	"github.com/hastack/hastack/internal/failpoint"
)

// readSteps are the fault points of steps 3 to 5 of a boot. By the time Nova's
// domain is called the request is read and its token checked, and nothing of
// that leaves a record, so their points lie in a row.
var readSteps = []string{
	"3.before-effect", "3.after-effect", "3.after-record",
	"4.before-effect", "4.after-effect", "4.after-record",
	"5.before-effect", "5.after-effect", "5.after-record",
}

// passPoints passes fault points nova.boot.POINT in order.
func passPoints(ctx context.Context, points ...string) error {
	for _, p := range points {
		if err := failpoint.At(ctx, kindBoot+"."+p); err != nil {
			return err
		}
	}
	return nil
}
