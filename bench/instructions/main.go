// Instructions counts the instructions that a Redis server spends on the operations of pendingq. It
// runs redis-server under callgrind. The counts hardly depend on the machine or its load. They
// leave out the kernel.
//
//	go run ./instructions > INSTRUCTIONS.md   # from the folder bench; three minutes
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/pendingq/pendingq/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `Usage: instructions [flags]

Counts the instructions that a Redis server spends on each operation, for one client that gathers no
commands. Prints a Markdown table. Needs redis-server, valgrind and callgrind_control on the PATH.

`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("instructions", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	n := flags.Int("n", 1000, "how often each operation runs")
	running := flags.Int("running", 10_000, "how many requests run in the crowded mailbox")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if *n < 1 || *running < 1 || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "instructions: -n and -running are at least 1; there are no arguments")
		return 2
	}
	if err := countAll(ctx, *n, *running, stdout); err != nil {
		fmt.Fprintln(stderr, "instructions:", err)
		return 1
	}
	return 0
}

// countAll starts a server, counts every operation and prints the table.
func countAll(ctx context.Context, n, running int, out io.Writer) error {
	for _, program := range []string{"redis-server", "valgrind", "callgrind_control"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed: %w", program, err)
		}
	}
	server, err := bench.StartServer(ctx, "valgrind", "--tool=callgrind")
	if err != nil {
		return err
	}
	defer server.Stop()
	client := bench.NewClient(server.Addr, 1)
	defer client.Close()
	if err := client.ConfigSet(ctx, "hz", "1").Err(); err != nil { // less work in the background
		return err
	}
	operations, err := allOperations(client, running)
	if err != nil {
		return err
	}
	fmt.Fprint(out, "| operation | instructions |\n| --- | ---: |\n")
	meter := meter{server, n}
	for _, o := range operations {
		if o.prepare != nil {
			if err := o.prepare(ctx); err != nil {
				return fmt.Errorf("prepare %s: %w", o.name, err)
			}
		}
		count, err := meter.count(ctx, o.do)
		if err != nil {
			return fmt.Errorf("%s: %w", o.name, errors.Join(err, context.Cause(ctx)))
		}
		fmt.Fprintf(out, "| %s | %.1fk |\n", o.name, count/1000)
	}
	return nil
}
