// Server is an API node: it serves the routes of package skillshttp. Any number of them may share a
// Redis server and a folder of imported skills.
//
//	go run ./examples/server -tokens tokens.yaml -skills ./skills -redis redis://localhost:6379
//	go run ./examples/server -demo    # a dashboard over requests that come and go, and nothing else
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
	"syscall"
)

// What the program exits with.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stderr))
}

// options are what the command line says.
type options struct {
	listen string
	redis  string
	prefix string
	tokens string
	skills string
	debug  bool
	demo   bool
}

const usage = `Usage: server -tokens FILE -skills DIR [flags]
       server -demo [-listen ADDRESS]

An API node for the local skills of runtimes. Front ends ask it, daemons poll it; see GET /healthz for its health.
Any number of nodes may share one Redis server (-redis) and one folder of imported skills (-skills).
SIGINT or SIGTERM answers what is waiting, finishes what has begun and exits.

The tokens file is YAML or JSON. Clients send "Authorization: Bearer TOKEN":

  people:
    - user: ada
      token: at-least-16-characters     # or sha256: the token's SHA-256 in hex
      runtimes: {laptop: owner, "*": member}     # owner, admin or member; "*" is every other runtime
  daemons:
    - runtime: laptop
      token: also-16-characters-or-more
  deleted_runtimes: [old-laptop]        # their daemons are told to forget them

Exits with 0 after a signal, with 1 if it could not serve, with 2 if it was called wrongly.

`

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8080", "address to serve at; port 0 takes a free one, which the log names")
	flags.StringVar(&o.redis, "redis", "", "URL of the Redis server that the nodes share, e.g. redis://localhost:6379; in memory without it")
	flags.StringVar(&o.prefix, "prefix", "pendingq:", "what the keys in Redis start with")
	flags.StringVar(&o.tokens, "tokens", "", "file that says who may do what (required)")
	flags.StringVar(&o.skills, "skills", "", "folder for imported skills, which nodes on one machine may share (required)")
	flags.BoolVar(&o.demo, "demo", false,
		"serve only a dashboard, over sample requests in memory; everybody may see and cancel them")
	flags.BoolVar(&o.debug, "debug", false, "log idle heartbeats too")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.demo:
	case o.tokens == "":
		err = errors.New("-tokens is required")
	case o.skills == "":
		err = errors.New("-skills is required")
	}
	if err != nil {
		fmt.Fprintf(stderr, "server: %v; see server --help\n", err)
	}
	return o, err
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	level := slog.LevelInfo
	if o.debug {
		level = slog.LevelDebug
	}
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	start := serve
	if o.demo {
		start = serveDemo
	}
	if err := start(ctx, o, logger, func(string) {}); err != nil {
		fmt.Fprintf(stderr, "server: %v\n", err)
		var bad *optionError
		if errors.As(err, &bad) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}

// optionError is about what the command line says, or the file that it names.
type optionError struct {
	flag string
	err  error
}

func (e *optionError) Error() string { return fmt.Sprintf("-%s: %v", e.flag, e.err) }
func (e *optionError) Unwrap() error { return e.err }
