// Server is an API node: it serves the routes of packages remote and skillshttp, a dashboard, and
// metrics for Prometheus. Any number of nodes may share a Redis server or a PostgreSQL database.
// The nodes of one machine may share a folder of imported skills.
//
//	go run ./examples/server -demo    # a dashboard and metrics over sample requests
//	go run ./examples/server -tokens tokens.yaml -skills ./skills -backend redis://localhost:6379
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	redis.SetLogger(redisLog{})
	os.Exit(run(ctx, os.Args[1:], surroundings{stdout: os.Stdout, stderr: os.Stderr,
		person: isTerminal(os.Stdout), terminal: isTerminal(os.Stderr), env: os.Getenv}))
}

// surroundings are the program's outputs and environment.
type surroundings struct {
	stdout, stderr io.Writer
	person         bool // stdout is a terminal
	terminal       bool // stderr is a terminal
	env            func(string) string
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func run(ctx context.Context, args []string, s surroundings) int {
	o, err := parse(args, s)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(s.stderr, "server: %v; see server --help\n", err)
		return exitUsage
	}
	start := serve
	if o.demo {
		start = serveDemo
	}
	logger := newLogger(o, s)
	redisLogger.Store(logger)
	err = start(ctx, o, logger, func(at addresses) {
		if !s.person { // a line for scripts, which does not depend on the format of the log
			fmt.Fprintf(s.stdout, "msg=listening addr=%s metrics=%s\n", at.api, at.metrics)
		}
	})
	if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitOK // a signal may come before it serves
	}
	var bad *optionError
	if errors.As(err, &bad) {
		fmt.Fprintf(s.stderr, "server: %v\n", err)
		return exitUsage
	}
	logger.Error("the server cannot go on", "error", err)
	return exitFailed
}

// newLogger logs text to people and JSON to machines, unless an option says otherwise.
func newLogger(o options, s surroundings) *slog.Logger {
	opts := &slog.HandlerOptions{Level: slog.LevelInfo}
	if o.debug {
		opts.Level = slog.LevelDebug
	}
	if o.log == logText || o.log == logAuto && s.terminal {
		return slog.New(slog.NewTextHandler(s.stderr, opts))
	}
	return slog.New(slog.NewJSONHandler(s.stderr, opts))
}

// redisLogger gets the messages of go-redis, which has one logger for all clients of a process.
var redisLogger atomic.Pointer[slog.Logger]

type redisLog struct{}

// Printf implements the logger of go-redis.
func (redisLog) Printf(ctx context.Context, format string, args ...any) {
	if l := redisLogger.Load(); l != nil {
		l.WarnContext(ctx, fmt.Sprintf(format, args...))
	}
}

// optionError is an error about the value of an option, or about the file that the option names.
type optionError struct {
	flag string
	err  error
}

func (e *optionError) Error() string { return fmt.Sprintf("-%s: %v", e.flag, e.err) }
func (e *optionError) Unwrap() error { return e.err }
