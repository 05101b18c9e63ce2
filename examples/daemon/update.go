package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	maxOutput = 64 << 10        // bytes of an update's output that are reported
	waitDelay = 2 * time.Second // for the output of processes that an update leaves behind
)

// update runs the update command. Processes that the command leaves behind keep running. Update
// waits for their output only for waitDelay. If ctx ends, the command and the processes that it has
// started are killed.
func update(ctx context.Context, command, version string) (string, error) {
	if command == "" {
		return "nothing to do for " + version + ": no -update-command", nil
	}
	output := &head{}
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Env = append(environment(os.Environ()), "VERSION="+version)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = output, output, waitDelay
	killGroup(cmd)
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // the command itself has succeeded
	}
	if err != nil {
		return output.String(), fmt.Errorf("the update command failed: %w", err)
	}
	return output.String(), nil
}

// environment returns the variables for a command. The command may print them, so it gets only
// variables that are never secret.
func environment(all []string) (some []string) {
	for _, variable := range all {
		name, _, _ := strings.Cut(variable, "=")
		switch name {
		case "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "TEMP", "TMP",
			"SYSTEMROOT", "USERPROFILE":
			some = append(some, variable)
		default:
			if strings.HasPrefix(name, "LC_") || strings.HasPrefix(name, "XDG_") {
				some = append(some, variable)
			}
		}
	}
	return some
}

// head keeps the first maxOutput bytes that are written to it.
type head struct {
	mu   sync.Mutex // a process that is left behind may still write
	text []byte
	more bool
}

// Write implements [io.Writer].
func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := min(len(p), maxOutput-len(h.text))
	h.text, h.more = append(h.text, p[:n]...), h.more || n < len(p)
	return len(p), nil
}

// String returns the text in UTF-8, and says if it was cut.
func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := strings.ToValidUTF8(string(h.text), "?")
	if h.more {
		text += fmt.Sprintf("\n[cut after %d bytes]", maxOutput)
	}
	return text
}
