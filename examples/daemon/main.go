// Daemon is a runtime: it lists and bundles the skills in this user's folders and answers pings.
// With -update-command it updates itself, and with -models it lists models. It polls an API node,
// such as examples/server.
//
//	go run ./examples/daemon -server http://localhost:8080 -runtime laptop -token SECRET
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"syscall"
	"time"

	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/daemon"
	"github.com/pendingq/pendingq/skills/folders"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stderr))
}

const usage = `Usage: daemon -server URL -runtime ID [flags]

Asks an API node for the work of a runtime, does the work and reports the answers. After SIGINT or
SIGTERM it gives the running work at most -grace, reports all of it, and ends. That takes minutes
if the server is silent; a second signal ends it at once. Exits with 1 if it could not work or the
runtime has been deleted, and with 2 for a wrong option.

`

type options struct {
	config                daemon.Config
	root, models, command string
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if o.config.Handlers, err = handlers(o); err != nil {
		fmt.Fprintln(stderr, "daemon:", err)
		return 2
	}
	o.config.Logger = slog.New(slog.NewTextHandler(stderr, nil))
	d, err := daemon.New(o.config)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	server, _ := url.Parse(o.config.Server) // which New has checked
	o.config.Logger.Info("working", "runtime", o.config.RuntimeID, "server", server.Redacted())
	if err := d.Run(ctx); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("daemon", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	c := &o.config
	flags.StringVar(&c.Server, "server", "", "base URL of the API")
	flags.StringVar(&c.RuntimeID, "runtime", "", "id of this runtime")
	flags.StringVar(&c.Token, "token", "",
		"bearer token; better in the environment as DAEMON_TOKEN, or in a file")
	tokenFile := flags.String("token-file", "", "file with the bearer token")
	flags.DurationVar(&c.Wait, "wait", 20*time.Second,
		"how long the server should hold a heartbeat; negative: not at all")
	flags.DurationVar(&c.Interval, "interval", 15*time.Second,
		"time between two heartbeats to a server that does not hold them")
	flags.DurationVar(&c.Grace, "grace", 30*time.Second,
		"how long running work may continue after a signal")
	flags.StringVar(&o.root, "root", "", "folder with skills, instead of this user's own")
	flags.StringVar(&o.models, "models", "",
		"JSON file with the list of models; without it the runtime lists none")
	flags.StringVar(&o.command, "update-command", "",
		"shell command that updates to $VERSION; it gets only a few environment variables; "+
			"without it an update does nothing and succeeds")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if c.Token == "" { // not the default of the flag, because --help shows defaults
		c.Token = os.Getenv("DAEMON_TOKEN")
	}
	if flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	} else if *tokenFile != "" {
		var token []byte
		token, err = os.ReadFile(*tokenFile)
		c.Token = strings.TrimSpace(string(token))
	}
	if err != nil {
		fmt.Fprintf(stderr, "daemon: %v\n", err)
	}
	return o, err
}

func handlers(o options) (daemon.Handlers, error) {
	roots, err := folders.DefaultRoots()
	if err == nil && o.root != "" {
		var path string
		path, err = filepath.Abs(o.root)
		roots = []folders.Root{{Provider: "local", Path: path}}
		if info, statErr := os.Stat(path); statErr != nil || !info.IsDir() {
			err = fmt.Errorf("-root %s is not a folder", o.root)
		}
	}
	if err != nil {
		return daemon.Handlers{}, err
	}
	h := daemon.Folders(roots)
	h.Ping = func(context.Context) (string, error) { return "up, " + goruntime.Version(), nil }
	h.Update = func(ctx context.Context, version string) (string, error) {
		return update(ctx, o.command, version)
	}
	if o.models != "" {
		h.Models = func(context.Context) (skills.ModelList, error) { return readModels(o.models) }
		if _, err := readModels(o.models); err != nil {
			return h, fmt.Errorf("-models: %w", err)
		}
	}
	return h, nil
}

func readModels(path string) (l skills.ModelList, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return l, err
	}
	l.Supported = true
	return l, json.Unmarshal(text, &l.Models)
}
