// Diagnose checks whether a Redis server, or a cluster, keeps pending requests safe.
//
//	go run ./examples/diagnose -redis redis://localhost:6379
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redisurl"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logging.Disable() // the findings already have the errors that go-redis would log
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `Usage: diagnose [flags]

Checks whether a Redis server, or each master of a Cluster, keeps pending requests safe. Exits with
1 if there is a problem, and with 2 for a wrong option or client.

`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("diagnose", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	url := flags.String("redis", "redis://localhost:6379", "`URL` of the server, "+
		"or of a node of a Cluster with ?cluster=true, or of a Sentinel with ?master_name=NAME")
	prefix := flags.String("prefix", "", "prefix of the keys, as in goredis.Options")
	output := flags.String("o", "text", "output: text or json")
	timeout := flags.Duration("timeout", 10*time.Second, "how long the checks may take")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := check(*output, flags.Args()); err != nil {
		fmt.Fprintln(stderr, "diagnose:", err)
		return 2
	}
	client, _, err := redisurl.Client(*url)
	if err != nil {
		fmt.Fprintln(stderr, "diagnose: -redis:", err)
		return 2
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	findings, err := goredis.Diagnose(ctx, client, &goredis.Options{Prefix: *prefix})
	if err != nil {
		fmt.Fprintln(stderr, "diagnose:", err)
		return 2
	}
	if err := show(stdout, findings, *output); err != nil {
		fmt.Fprintln(stderr, "diagnose:", err)
		return 1
	}
	if len(findings) > 0 && findings[0].Severity == backends.SeverityProblem {
		return 1
	}
	return 0
}

// check refuses an unknown output, and arguments that are not flags.
func check(output string, arguments []string) error {
	if len(arguments) > 0 {
		return fmt.Errorf("unexpected argument %q; write the server after -redis", arguments[0])
	}
	if output != "text" && output != "json" {
		return fmt.Errorf("-o %s is neither text nor json", output)
	}
	return nil
}

func show(w io.Writer, findings []backends.Finding, output string) error {
	if output == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(findings)
	}
	for _, f := range findings {
		fmt.Fprintf(w, "%-8s %s: %s (%s)\n", strings.ToUpper(f.Severity.String()),
			f.Subject, f.Text, cmp.Or(f.Server, "client"))
		if f.Advice != "" {
			fmt.Fprintf(w, "%-8s -> %s\n", "", f.Advice)
		}
	}
	if len(findings) == 0 {
		fmt.Fprintln(w, "nothing to report")
	}
	return nil
}
