package bad

import (
	"context"
	"fmt"
	clock "time"

	"github.com/uptrace/bun"
)

func now(tx bun.Tx) {
	_ = context.TODO()
	fmt.Println(clock.Now())
}
