// Pendingctl shows and cancels the requests of any store. It also sends requests to runtimes: list
// skills, import skills, ping, update, list models. It talks to an API node, such as
// examples/server.
//
//	export PENDINGCTL_SERVER=http://127.0.0.1:8080 PENDINGCTL_TOKEN=...
//	pendingctl ls --store backup
//	pendingctl cancel --store backup ID --reason "wrong device"
//	pendingctl --runtime laptop skills import release-notes sql-review
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/pending"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1   // refused, not found, ended but not completed, or no answer in time
	exitUsage       = 2   // a wrong option or argument
	exitTrouble     = 3   // the server or the network failed; the request may exist
	exitInterrupted = 130 // by SIGINT or SIGTERM
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], surroundings{stdout: os.Stdout, stderr: os.Stderr,
		screen: isTerminal(os.Stdout), live: isTerminal(os.Stderr), env: os.Getenv}))
}

// surroundings are the program's outputs and environment.
type surroundings struct {
	stdout, stderr io.Writer
	screen         bool // stdout is a terminal
	live           bool // stderr is a terminal, where the program can overwrite a line
	env            func(string) string
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// size returns the current size of a terminal, or 80 columns and 24 rows.
func size(out io.Writer) (columns, rows int) {
	if f, ok := out.(*os.File); ok {
		if columns, rows, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 && rows > 0 {
			return columns, rows
		}
	}
	return 80, 24
}

// run runs one command.
func run(ctx context.Context, args []string, s surroundings) int {
	root := newRoot(s)
	root.SetArgs(doubleDashes(root, args))
	err := root.ExecuteContext(ctx)
	if err != nil && !errors.Is(err, errReported) {
		fmt.Fprintf(s.stderr, "pendingctl: %v\n", err)
	}
	return exitCode(ctx, err)
}

// usageError is a mistake on the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func misused(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// refusals are errors of a request that the server refused, or that had no answer in time.
var refusals = []error{pending.ErrNotFound, pending.ErrEnded, pending.ErrInvalid,
	errors.ErrUnsupported, remote.ErrUnauthorized, remote.ErrForbidden, remote.ErrTooMany,
	errPatience}

// exitCode returns the exit code for an error.
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
	case errors.As(err, &ended), errors.As(err, &answered):
		return exitFailed
	}
	for _, refusal := range refusals {
		if errors.Is(err, refusal) {
			return exitFailed
		}
	}
	return exitTrouble
}
