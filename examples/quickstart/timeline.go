package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// timeline prints a line for each event: when, who, at which node, what, and how long it took.
type timeline struct {
	mu     sync.Mutex
	output io.Writer
	start  time.Time
}

func newTimeline(output io.Writer) *timeline {
	fmt.Fprintf(output, "%9s  %-9s  %-6s  %-50s  %s\n", "when", "who", "node", "what", "took")
	return &timeline{output: output, start: time.Now()}
}

// add prints a line for an event that began at a time and ends now.
func (t *timeline) add(began time.Time, who, node, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, what := time.Now(), fmt.Sprintf(format, args...)
	fmt.Fprintf(t.output, "%8.3fs  %-9s  %-6s  %-50s  %v\n", now.Sub(t.start).Seconds(),
		who, node, what, now.Sub(began).Round(10*time.Microsecond))
}

// note prints a line about the last event.
func (t *timeline) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.output, "%9s  %-9s  %-6s  %s\n", "", "", "", fmt.Sprintf(format, args...))
}
