// Pendingctl asks runtimes for things from the command line: their skills, to import some, a sign
// of life, an update, their models. It talks to an API node (examples/server), which the runtime's
// daemon (examples/daemon) polls.
//
//	export PENDINGCTL_SERVER=http://127.0.0.1:8080 PENDINGCTL_RUNTIME=laptop PENDINGCTL_TOKEN=...
//	pendingctl skills list
//	pendingctl skills import release-notes sql-review
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// What the program exits with.
const (
	exitOK          = 0
	exitFailed      = 1   // the request was refused, or ended in another way than completed, or not in time
	exitUsage       = 2   // called wrongly
	exitTrouble     = 3   // the server or the network; the request may have been made
	exitInterrupted = 130 // by SIGINT or SIGTERM
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], surroundings{stdout: os.Stdout, stderr: os.Stderr, live: isTerminal(os.Stderr), env: os.Getenv}))
}

// surroundings are what the program runs in.
type surroundings struct {
	stdout, stderr io.Writer
	live           bool // stderr is a terminal, where a line can be written over
	env            func(string) string
}

// isTerminal reports whether a file is a terminal, or something else that nobody reads back.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// run runs one command.
func run(ctx context.Context, args []string, s surroundings) int {
	err := dispatch(ctx, args, s)
	var wrong *usageError
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &wrong):
		fmt.Fprintf(s.stderr, "pendingctl: %v\n", err)
	case !errors.Is(err, errReported):
		fmt.Fprintf(s.stderr, "pendingctl: %v\n", err)
	}
	return exitCode(ctx, err)
}

// usageError is a mistake on the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func misused(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// exitCode is what a script learns of an error.
func exitCode(ctx context.Context, err error) int {
	var wrong *usageError
	var ended *endedError
	var answered *statusError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &wrong):
		return exitUsage
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &answered) && !answered.refused():
		return exitTrouble
	case errors.As(err, &ended), errors.As(err, &answered), errors.Is(err, errPatience):
		return exitFailed
	}
	return exitTrouble
}
