package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pendingq/pendingq/bench"
)

// meter counts the instructions of a server that runs under callgrind.
type meter struct {
	server *bench.Server
	n      int // how often an operation runs
}

// count returns how many instructions an operation takes. The operation gets its number, from 0.
// Its first runs, which load scripts, are not counted.
func (m meter) count(ctx context.Context, do func(context.Context, int) error) (float64, error) {
	warmUp := 20 + m.n/10
	for i := range warmUp + m.n {
		if i == warmUp {
			if err := m.control(ctx, "--zero"); err != nil {
				return 0, err
			}
		}
		if err := do(ctx, i); err != nil {
			return 0, err
		}
	}
	if err := m.control(ctx, "--dump"); err != nil {
		return 0, err
	}
	total, err := m.total()
	return total / float64(m.n), err
}

func (m meter) control(ctx context.Context, command string) error {
	cmd := exec.CommandContext(ctx, "callgrind_control", command, strconv.Itoa(m.server.Pid))
	cmd.Dir = m.server.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("callgrind_control %s: %w\n%s", command, err, out)
	}
	return nil
}

// total reads the dump, and removes it.
func (m meter) total() (float64, error) {
	dumps, err := filepath.Glob(filepath.Join(m.server.Dir, "callgrind.out.*.*"))
	if err != nil || len(dumps) != 1 {
		return 0, fmt.Errorf("callgrind wrote %d dumps, want one: %w", len(dumps), err)
	}
	dump, err := os.ReadFile(dumps[0])
	if err != nil {
		return 0, err
	}
	total, err := totalOf(string(dump))
	if err != nil {
		return 0, err
	}
	return total, os.Remove(dumps[0])
}

// totalOf reads the total of a dump.
func totalOf(dump string) (float64, error) {
	for line := range strings.Lines(dump) {
		if count, ok := strings.CutPrefix(line, "totals:"); ok {
			return strconv.ParseFloat(strings.TrimSpace(count), 64)
		}
	}
	return 0, fmt.Errorf("the dump of callgrind has no totals")
}
