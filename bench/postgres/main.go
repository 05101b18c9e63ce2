package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/pendingq/pendingq/internal/postgrestest"
)

// size is how much a set measures.
type size struct {
	callers                             []int
	lives, rounds, beats, live, pickUps int
}

var sets = map[string]size{
	"quick": {callers: []int{4}, lives: 40, rounds: 1, beats: 100, live: 50, pickUps: 5},
	"full": {callers: []int{16, 64}, lives: 16_000, rounds: 4, beats: 20_000, live: 10_000,
		pickUps: 500},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("postgres", flag.ContinueOnError)
	flags.SetOutput(stderr)
	set := flags.String("set", "full", "how much to measure: quick or full")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	how, known := sets[*set]
	if !known || flags.NArg() > 0 {
		fmt.Fprintf(stderr, "postgres: -set is quick or full, and there are no arguments\n")
		return 2
	}
	if err := measure(ctx, how, stdout); err != nil {
		fmt.Fprintf(stderr, "postgres: %v\n", err)
		return 1
	}
	return 0
}

// versions prints the versions of what is compared.
func (l *lab) versions(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, l.server.URL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var version string
	if err := conn.QueryRow(ctx, "SHOW server_version").Scan(&version); err != nil {
		return err
	}
	fmt.Fprintf(l.out, "PostgreSQL %s, River %s, pgx %s.\n\n", version,
		moduleVersion("github.com/riverqueue/river"), moduleVersion("github.com/jackc/pgx/v5"))
	return nil
}

// moduleVersion returns the version of a module that this program is built with.
func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == path {
				return module.Version
			}
		}
	}
	return "of unknown version"
}

// measure starts a server whose writes reach the disk, and prints what it measures.
func measure(ctx context.Context, how size, out io.Writer) error {
	server, err := postgrestest.New("fsync=on", "shared_buffers=128MB")
	if err != nil {
		return err
	}
	defer server.Remove()
	l := &lab{server: server, size: how, out: out}
	for _, part := range []func(context.Context) error{
		l.versions, l.lifecycles, l.idle, l.pickUps} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}
