package nova_test

import (
	"testing"

	"github.com/hastack/hastack/internal/nova"
)

func TestStatusTellsOfARebuildToItsEnd(t *testing.T) {
	for _, state := range []string{nova.Active, nova.Stopped, nova.Errored} {
		for _, task := range []string{nova.TaskRebuilding, nova.TaskRebuildSpawning} {
			s := nova.Server{VMState: state, TaskState: task}
			if got := s.Status(); got != "REBUILD" {
				t.Errorf("a server that is %s and %s shows %s", state, task, got)
			}
		}
	}
}
