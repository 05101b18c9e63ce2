// Quickstart runs a whole system in one process: three API nodes that share one backend, a runtime
// that polls them, and a front end that uses another node at each step. The front end lists the
// skills on this machine, imports one, pings the runtime, updates it, and lists its models.
//
//	go run ./examples/quickstart                # everything in memory
//	go run ./examples/quickstart -redis URL     # the same over a Redis server
//	go run ./examples/quickstart -postgres URL  # or over PostgreSQL, in a schema of its own
//	go run ./examples/quickstart -separate      # the bug: each node has its own store
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
	"time"
)

// options are the flags of the command line.
type options struct {
	root     string
	redis    string
	postgres string
	out      string
	separate bool
	patience time.Duration
}

const usage = `Usage: quickstart [flags]

Runs three API nodes, one runtime that polls, and a front end in one process. Lists the skills on
this machine, imports one to a folder, pings, updates and lists models, each step at another node.
Exits with 1 if something did not work.

`

func parse(args []string, output io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(output)
	flags.Usage = func() {
		fmt.Fprint(output, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.root, "root", "",
		"folder with skills to list (default this user's skills, or samples if there are none)")
	flags.StringVar(&o.redis, "redis", "",
		"URL of a Redis server for all nodes, e.g. redis://localhost:6379 (default in memory)")
	flags.StringVar(&o.postgres, "postgres", "",
		"URL of a PostgreSQL database for all nodes, e.g. postgres://localhost/app; "+
			"makes the schema "+schema)
	flags.StringVar(&o.out, "out", "",
		"folder for the imported skill (default a temporary folder, removed at the end)")
	flags.BoolVar(&o.separate, "separate", false,
		"give each node its own store, and see what goes wrong")
	flags.DurationVar(&o.patience, "patience", 3*time.Second,
		"how long the front end waits for each answer")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.separate && o.redis+o.postgres != "":
		err = errors.New("-separate gives each node a store in memory: " +
			"leave out -redis and -postgres")
	case o.redis != "" && o.postgres != "":
		err = errors.New("-redis and -postgres exclude each other")
	case o.patience <= 0:
		err = errors.New("-patience must be longer than 0")
	}
	if err != nil {
		fmt.Fprintf(output, "quickstart: %v\n\n", err)
		flags.Usage()
	}
	return o, err
}

func main() { os.Exit(run()) }

func run() int {
	o, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := show(ctx, o, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "\nquickstart: %v\n", err)
		return 1
	}
	return 0
}

// show runs the whole story.
func show(ctx context.Context, o options, output io.Writer) error {
	nodes, closeNodes, err := newNodes(ctx, o)
	if err != nil {
		return err
	}
	defer closeNodes()
	machine, err := newMachine(o, nodes)
	if err != nil {
		return err
	}
	defer machine.close()
	fmt.Fprintf(output, "%s\n%s\n\n", nodes, machine)

	t := newTimeline(output)
	polling, stopPolling := context.WithCancel(ctx)
	polled := make(chan struct{})
	go func() {
		defer close(polled)
		machine.poll(polling, t)
	}()
	front := &frontEnd{nodes: balancer{cluster: nodes}, runtime: machine.id,
		patience: o.patience, timeline: t}
	err = front.askEverything(ctx)
	stopPolling()
	<-polled
	switch {
	case err == nil:
		fmt.Fprintln(output, "\nSee requests live in a browser: go run ./examples/server -demo")
	case o.separate:
		fmt.Fprint(output, explanation)
	}
	return err
}

const explanation = `
This is the bug that pendingq exists for. Each node had its own store. So the runtime's poll, its
report and the front end's read reached nodes that did not know the request: "not found", or no
answer at all. A request is answered only if the load balancer happens to send each step to the
same node. So each test on a single node passes. Run the program again without -separate: the nodes
then share one store.
`
