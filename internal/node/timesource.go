package node

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"os/exec"
	"strconv"
	"time"
)

// clockCollector asks chrony how far the clock is off.
type clockCollector struct {
	tracking func(ctx context.Context) ([]byte, error)
}

func (clockCollector) Name() string         { return "clock" }
func (clockCollector) Every() time.Duration { return 15 * time.Second }

// chronyTracking starts a program; at four times a minute that is cheap enough.
func chronyTracking(ctx context.Context) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "chronyc", "-c", "-n", "tracking")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("chronyc tracking: %w: %s", err, bytes.TrimSpace(append(out, stderr.Bytes()...)))
	}
	return out, nil
}

// Collect reads one line of values: reference id, name, stratum, reference
// time, system time offset, and more.
func (c clockCollector) Collect(ctx context.Context) (Facts, error) {
	out, err := c.tracking(ctx)
	if err != nil {
		return nil, err
	}
	f, err := csv.NewReader(bytes.NewReader(out)).Read()
	if err != nil || len(f) < 14 {
		return nil, fmt.Errorf("chronyc tracking said %q", bytes.TrimSpace(out))
	}
	k := &Clock{Source: f[1]}
	k.Stratum, _ = strconv.Atoi(f[2])
	offset, err := strconv.ParseFloat(f[4], 64)
	if err != nil {
		return nil, fmt.Errorf("chronyc tracking has the offset %q", f[4])
	}
	// chrony counts a slow clock as positive.
	k.Offset = -time.Duration(offset * float64(time.Second))
	k.Synchronised = f[13] != "Not synchronised" && k.Stratum > 0 && k.Stratum < 16
	return func(s *State) { s.Clock = k }, nil
}
