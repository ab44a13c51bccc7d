package cli

import (
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
)

// profiled runs f and, if path is not empty, writes its CPU profile there.
func profiled(path string, f func() error) error {
	if path == "" {
		return f()
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the profile: %w", err)
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return errors.Join(fmt.Errorf("profile: %w", err), out.Close())
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, out.Close())
}
