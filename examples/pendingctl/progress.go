package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pendingq/pendingq/pending"
)

// board shows the states of requests. On a terminal it overwrites one line. Elsewhere it writes a
// line for each change.
type board struct {
	live bool

	mu     sync.Mutex
	out    io.Writer
	states map[string]*record // by the label of the question
	frame  int
}

func newBoard(out io.Writer, live bool) *board {
	return &board{live: live, out: out, states: map[string]*record{}}
}

const (
	frames     = `|/-\`
	frameTime  = 120 * time.Millisecond
	clearsLine = "\r\x1b[K"
)

// start shows the line until stop is called, if stderr is a terminal.
func (b *board) start() (stop func()) {
	if !b.live {
		return func() {}
	}
	ended, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(frameTime)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				b.draw()
			case <-ended:
				return
			}
		}
	}()
	return func() {
		close(ended)
		<-stopped
		_, _ = io.WriteString(b.out, clearsLine)
	}
}

func (b *board) draw() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.states) == 0 {
		return
	}
	b.frame++
	line := fmt.Sprintf("%c %s", frames[b.frame%len(frames)], oneLine(b.summary()))
	columns, _ := size(b.out)
	fmt.Fprint(b.out, clearsLine, cut(line, columns-1))
}

// cut cuts a line to a number of columns. Letters of East Asian scripts, and emoji, take two
// columns.
func cut(line string, columns int) string {
	used := 0
	for i, r := range line {
		if used++; r >= 0x1100 {
			used++
		}
		if used > columns {
			return line[:i]
		}
	}
	return line
}

// summary returns the states of all requests in a line.
func (b *board) summary() string {
	if len(b.states) == 1 {
		for label, r := range b.states {
			return label + ": " + stateOf(r)
		}
	}
	counts := map[pending.Status]int{}
	var oldest *record
	for _, r := range b.states {
		counts[r.Status]++
		older := oldest == nil || r.UpdatedAt.Before(oldest.UpdatedAt)
		if r.Status == pending.StatusRunning && older {
			oldest = r
		}
	}
	var parts []string
	for status, n := range counts {
		part := fmt.Sprintf("%d %s", n, status)
		if status == pending.StatusRunning {
			part += " since " + clock(oldest)
		}
		parts = append(parts, part)
	}
	slices.SortFunc(parts, func(x, y string) int {
		return cmp.Compare(strings.TrimLeft(x, "0123456789"), strings.TrimLeft(y, "0123456789"))
	})
	return fmt.Sprintf("%d requests: %s", len(b.states), strings.Join(parts, ", "))
}

// stateOf returns the state of one request, in words.
func stateOf(r *record) string {
	switch r.Status {
	case pending.StatusPending:
		return "pending, until the runtime polls"
	case pending.StatusRunning:
		return "running since " + clock(r)
	}
	return string(r.Status)
}

func clock(r *record) string { return r.UpdatedAt.Local().Format(time.TimeOnly) }

// seen notes a request's state.
func (b *board) seen(label string, r *record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.states[label]
	b.states[label] = r
	if !b.live && (before == nil || before.Status != r.Status) {
		fmt.Fprintf(b.out, "%s: %s\n", label, stateOf(r))
	}
}

// note writes a message to people, apart from the states.
func (b *board) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.live {
		_, _ = io.WriteString(b.out, clearsLine)
	}
	fmt.Fprintf(b.out, "pendingctl: "+format+"\n", args...)
}
