// Report runs the comparisons of package bench and writes what they found as Markdown: a table of every ratio with its
// target, tables and charts of the figures behind them, and the raw output for benchstat.
//
//	go run ./report                    # from the folder bench; about six minutes
//	go run ./report -set quick -out -  # a first look, on standard output
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pendingq/pendingq/bench"
	"github.com/pendingq/pendingq/internal/redisurl"
)

func main() {
	testing.Init() // for the benchmarks of the codecs
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `Usage: report [flags]

Measures pendingq beside its baselines, and writes a report with every ratio and its target. Starts a redis-server of its
own unless -redis names one, which it then FLUSHES.

`

// size is how much of each thing a set measures.
type size struct {
	rounds, lifecycles, swept, live, many, pickups int
	benchtime                                      time.Duration
	runtimes, grown, answers                       []int
}

var sets = map[string]size{
	"quick": {rounds: 1, lifecycles: 2000, swept: 2000, live: 5000, many: 50_000, pickups: 50, benchtime: 20 * time.Millisecond,
		runtimes: []int{1, 100}, grown: []int{1000, 10_000}, answers: []int{200, 256_000}},
	"full": {rounds: 20, lifecycles: 5000, swept: 20_000, live: 50_000, many: 1_000_000, pickups: 1000, benchtime: 500 * time.Millisecond,
		runtimes: []int{1, 100, 1000, 10_000}, grown: []int{1000, 10_000, 100_000, 1_000_000},
		answers: []int{200, 2500, 25_000, 100_000, 250_000, 1_000_000, 8_000_000}},
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	url := flags.String("redis", "", "URL of a Redis server of your own, which is FLUSHED; without it one is started")
	set := flags.String("set", "full", "how much to measure: quick or full")
	out := flags.String("out", "REPORT.md", "file to write; - for standard output")
	raw := flags.String("raw", "", "file for the raw output, as benchstat reads it; none without it")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	how, known := sets[*set]
	if !known || flags.NArg() > 0 {
		fmt.Fprintf(stderr, "report: -set is quick or full, and there are no arguments\n")
		return 2
	}
	start := time.Now()
	progress := func(format string, args ...any) {
		fmt.Fprintf(stderr, "%6.1fs  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
	}
	text, lines, err := measure(ctx, *url, how, progress)
	if err == nil {
		err = write(*out, text, stdout)
	}
	if err == nil && *raw != "" {
		err = os.WriteFile(*raw, []byte(lines), 0o644)
	}
	if err != nil {
		fmt.Fprintln(stderr, "report:", err)
		return 1
	}
	progress("done")
	return 0
}

func write(path, text string, stdout io.Writer) error {
	if path == "-" {
		_, err := io.WriteString(stdout, text)
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// measure measures everything and returns the report and the raw output.
func measure(ctx context.Context, url string, how size, progress func(string, ...any)) (report, raw string, err error) {
	addr, stop, err := server(ctx, url)
	if err != nil {
		return "", "", err
	}
	defer stop()
	f, err := collect(ctx, addr, how, progress)
	if err != nil {
		return "", "", err
	}
	return f.report(), f.raw(), nil
}

func server(ctx context.Context, url string) (addr string, stop func(), err error) {
	if url == "" {
		return bench.StartServer(ctx)
	}
	opts, err := redisurl.Parse(url)
	if err != nil {
		return "", nil, fmt.Errorf("-redis: %w", err)
	}
	return opts.Addr, func() {}, nil
}

// cell puts a number as a person reads it.
func cell(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// table writes a Markdown table.
func table(head []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	rule := make([]string, len(head))
	for i := range rule {
		rule[i] = "---:"
	}
	rule[0] = "---"
	line(rule)
	for _, row := range rows {
		line(row)
	}
	return b.String()
}

// chart draws bars as Mermaid, which GitHub shows as a picture.
func chart(title, unit string, names []string, values []float64) string {
	quoted, numbers := make([]string, len(names)), make([]string, len(values))
	for i, name := range names {
		quoted[i], numbers[i] = fmt.Sprintf("%q", name), fmt.Sprintf("%.1f", values[i])
	}
	return fmt.Sprintf("```mermaid\nxychart-beta\n  title %q\n  x-axis [%s]\n  y-axis %q\n  bar [%s]\n```\n", title,
		strings.Join(quoted, ", "), unit, strings.Join(numbers, ", "))
}
