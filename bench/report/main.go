// Report measures pendingq beside its baselines, and writes a Markdown report: a table of targets,
// tables and charts of the figures. The raw figures are for benchstat.
//
// The full set takes ten minutes. In the folder bench:
//
//	go run ./report -raw RAW.txt -instructions INSTRUCTIONS.md -postgres POSTGRES.md
//	go run ./report -set quick -out -   # a first look, on standard output
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"slices"
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

Measures pendingq beside its baselines, and writes a report with every figure and every target.
It starts a redis-server of its own. With -redis it uses yours and EMPTIES it.

`

// size is how much a set measures.
type size struct {
	rounds, each, swept, live, many, pickups int
	codecRounds                              int
	benchtime                                time.Duration // of a codec's round
	grown, answers                           []int
}

var sets = map[string]size{
	"quick": {rounds: 1, each: 400, swept: 300, live: 1000, many: 50_000, pickups: 50,
		codecRounds: 1, benchtime: time.Millisecond, grown: []int{1000, 10_000},
		answers: []int{200, 256_000}},
	"full": {rounds: 11, each: 5000, swept: 20_000, live: 50_000, many: 1_000_000, pickups: 1000,
		codecRounds: 5, benchtime: 50 * time.Millisecond,
		grown:   []int{1000, 10_000, 100_000, 1_000_000},
		answers: []int{200, 2500, 25_000, 100_000, 250_000, 1_000_000, 8_000_000}},
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	url := flags.String("redis", "", "URL of a Redis server, which is EMPTIED; default: start one")
	set := flags.String("set", "full", "how much to measure: quick or full")
	out := flags.String("out", "REPORT.md", "file to write; - for standard output")
	raw := flags.String("raw", "", "file for the raw figures, as benchstat reads them")
	counted := flags.String("instructions", "", "file with the output of go run ./instructions")
	postgres := flags.String("postgres", "", "file with the output of go run ./postgres")
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
	tell := teller(stderr)
	instructions, err := read(*counted)
	overPostgres, missing := read(*postgres)
	err = errors.Join(err, missing)
	var f *figures
	if err == nil {
		f, err = measure(ctx, *url, how, tell)
	}
	if err == nil {
		f.instructions, f.overPostgres = instructions, overPostgres
		err = errors.Join(write(*out, f.report(), stdout), write(*raw, f.raw(), stdout))
	}
	if err != nil {
		fmt.Fprintln(stderr, "report:", err)
		return 1
	}
	tell("done")
	return 0
}

// teller returns a function that prints lines with the time since now.
func teller(out io.Writer) progress {
	start := time.Now()
	return func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		fmt.Fprintf(out, "%6.1fs  %s\n", time.Since(start).Seconds(), text)
	}
}

// read returns the text of a file, "" if there is no path.
func read(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	return string(text), err
}

// write writes a file: none if there is no path, standard output for "-".
func write(path, text string, stdout io.Writer) error {
	switch path {
	case "":
		return nil
	case "-":
		_, err := io.WriteString(stdout, text)
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

func measure(ctx context.Context, url string, how size, tell progress) (*figures, error) {
	addr, stop, err := server(ctx, url)
	if err != nil {
		return nil, err
	}
	defer stop()
	return collect(ctx, addr, how, tell)
}

func server(ctx context.Context, url string) (addr string, stop func(), err error) {
	if url == "" {
		s, err := bench.StartServer(ctx)
		if err != nil {
			return "", nil, err
		}
		return s.Addr, s.Stop, nil
	}
	opts, err := redisurl.Parse(url)
	if err != nil {
		return "", nil, fmt.Errorf("-redis: %w", err)
	}
	return opts.Addr, func() {}, nil
}

// cell formats a number with three significant digits or all of its integer part.
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

// chart draws bars from zero, as Mermaid.
func chart(title, unit string, names []string, values []float64) string {
	quoted, numbers := make([]string, len(names)), make([]string, len(values))
	for i, name := range names {
		quoted[i], numbers[i] = fmt.Sprintf("%q", name), fmt.Sprintf("%.1f", values[i])
	}
	const picture = "```mermaid\nxychart-beta horizontal\n  title %q\n" +
		"  x-axis [%s]\n  y-axis %q 0 --> %.0f\n  bar [%s]\n```\n"
	return fmt.Sprintf(picture, title, strings.Join(quoted, ", "), unit,
		math.Ceil(slices.Max(values)), strings.Join(numbers, ", "))
}
