package main

import (
	"fmt"
	"strings"

	"github.com/pendingq/pendingq/bench"
)

const heading = "# What it costs\n\nMeasured on %s.\n" +
	"Regenerate with `go run ./report` in the folder `bench`.\n\n"

const introduction = `A lifecycle creates a request, claims it, completes it and reads the answer.

- *pendingq* is the library with its default options. One process claims the request and completes
  it, as a Worker does: four round trips. It gathers commands while many are in flight.
  *pendingq-plain* gathers no commands, *pendingq-gathered* all of them.
- *pendingq-held* stands for a worker that reports to a stateless node. The report has only an id
  and an attempt, so the node loads the claim with Held before Complete: five round trips.
- *original* is the usual layout of hand-written stores: a JSON record and a sorted set. A report
  has only an id, so it loads the record, as pendingq-held does: seven round trips.
- *floor* is four plain commands (SET GET SET GET) with values of the same sizes.
- *original-gathered* and *floor-gathered* send their commands through the full-duplex autopipeliner
  of go-redis, as pendingq does.

The sides of a table ran in turn, round after round. A figure is the median over the rounds. A ratio
is computed in each round, and the table has the median of these ratios. So it may differ from the
ratio of two figures. A section whose figures come from a single run says so.

`

// report writes everything as Markdown.
func (f *figures) report() string {
	var b strings.Builder
	fmt.Fprintf(&b, heading, f.machine)
	b.WriteString(introduction)
	f.writeRatios(&b)
	f.writeLifecycles(&b)
	f.writeNetwork(&b)
	f.writeHeartbeats(&b)
	f.writeOverHTTP(&b)
	f.writeCrowd(&b)
	f.writeInstructions(&b)
	f.writeOverPostgres(&b)
	f.writeAnswers(&b)
	f.writeGrowth(&b)
	f.writeCodecs(&b)
	f.writeSizes(&b)
	b.WriteString(conclusions)
	return b.String()
}

func (f *figures) writeRatios(b *strings.Builder) {
	b.WriteString("## Targets\n\n" +
		"Round trips, bytes, allocations and latencies come from a single run.\n\n")
	var rows [][]string
	for _, r := range f.ratios {
		bound, verdict := "at least ", "reached"
		if r.AtMost {
			bound = "at most "
		}
		if !r.Reached() {
			verdict = "**not reached**"
		}
		got, target := cell(r.Got)+r.Unit, bound+cell(r.Target)+r.Unit
		rows = append(rows, []string{r.Name, got, target, verdict})
	}
	b.WriteString(table([]string{"what", "measured", "target", ""}, rows) + "\n")
}

// runsTable is a table with a row for each side.
func runsTable(what string, sides []string, runs bench.Runs) string {
	var rows [][]string
	for _, side := range sides {
		rows = append(rows, []string{side, cell(runs.Median(side, bench.PerSecond)),
			cell(runs.Median(side, bench.P50) / 1000), cell(runs.Median(side, bench.P99) / 1000),
			cell(runs.Median(side, bench.ServerCPU))})
	}
	return table([]string{"side", what + "/s", "p50 ms", "p99 ms", "server CPU µs"}, rows) + "\n"
}

func (f *figures) writeLifecycles(b *strings.Builder) {
	b.WriteString("## Lifecycles over Redis\n\n")
	for _, callers := range bench.Callers {
		runs := f.lifecycles[callers]
		title := "1 caller"
		if callers > 1 {
			title = fmt.Sprint(callers, " callers")
		}
		fmt.Fprintf(b, "### %s\n\n%s", title, runsTable("lifecycles", bench.LifecycleSides, runs))
		var perSecond []float64
		for _, side := range bench.LifecycleSides {
			perSecond = append(perSecond, runs.Median(side, bench.PerSecond))
		}
		title = "Lifecycles a second, " + title
		b.WriteString(chart(title, "lifecycles/s", bench.LifecycleSides, perSecond) + "\n")
	}
}

func (f *figures) writeNetwork(b *strings.Builder) {
	b.WriteString("## Over a network\n\n" +
		"The client reaches the server through a proxy on loopback.\n" +
		"A round trip takes 1 ms, plus the time that the proxy's timers are late.\n\n")
	for _, callers := range bench.NetworkCallers {
		runs := f.network[callers]
		fmt.Fprintf(b, "Callers: %d. The p50 of pendingq is %s× that of original, "+
			"the p50 of pendingq-held %s×.\n\n%s", callers,
			cell(runs.Ratio("pendingq", "original", bench.P50)),
			cell(runs.Ratio("pendingq-held", "original", bench.P50)),
			runsTable("lifecycles", bench.NetworkSides, runs))
	}
}

func (f *figures) writeHeartbeats(b *strings.Builder) {
	b.WriteString("## Heartbeats over five stores\n\n" +
		"With 16 callers, for 10,000 runtimes in turn.\n" +
		"*With a ping* also creates a ping, which the heartbeat claims.\n\n")
	b.WriteString(runsTable("heartbeats", bench.HeartbeatSides, f.heartbeats))
}

func (f *figures) writeOverHTTP(b *strings.Builder) {
	b.WriteString("## Over HTTP\n\nThe p50 of one caller, in µs. Direct is a call " +
		"of the memory backend.\nOver HTTP, backends/remote makes the call, on loopback.\n\n")
	var row []string
	for _, side := range bench.HTTPSides {
		row = append(row, cell(f.overHTTP.Median(side, bench.P50)))
	}
	b.WriteString(table(bench.HTTPSides, [][]string{row}) + "\n")
}

func (f *figures) writeCrowd(b *strings.Builder) {
	fmt.Fprintf(b, "## A mailbox with %d running requests\n\n", bench.Crowded)
	b.WriteString("One caller, in the crowded mailbox and in empty mailboxes.\n\n")
	var rows [][]string
	for _, step := range bench.CrowdSteps {
		empty, crowded := step+", empty", step+", crowded"
		row := []string{step}
		for _, figure := range []func(bench.Result) float64{bench.P50, bench.ServerCPU} {
			row = append(row, cell(f.crowd.Median(empty, figure)),
				cell(f.crowd.Median(crowded, figure)),
				cell(f.crowd.Ratio(crowded, empty, figure))+"×")
		}
		rows = append(rows, row)
	}
	b.WriteString(table([]string{"operation", "p50 µs, empty", "crowded", "ratio",
		"server CPU µs, empty", "crowded", "ratio"}, rows) + "\n")
}

func (f *figures) writeInstructions(b *strings.Builder) {
	if f.instructions != "" {
		b.WriteString("## Instructions of the server\n\n" +
			"Counted by callgrind, without the instructions of the kernel. The single client\n" +
			"gathers no commands (`go run ./instructions`).\n\n" + f.instructions + "\n")
	}
}

func (f *figures) writeOverPostgres(b *strings.Builder) {
	if f.overPostgres != "" {
		b.WriteString("## Over PostgreSQL\n\n" +
			"The server ran on the same machine, in a run of its own (`go run ./postgres`).\n\n" +
			strings.ReplaceAll(f.overPostgres, "## ", "### ") + "\n")
	}
}

func (f *figures) writeAnswers(b *strings.Builder) {
	b.WriteString("## Large answers\n\nLifecycles with 16 callers, by the size of the answer. " +
		"A list of 1000 skills has about\n250000 bytes, an import up to 8 million. " +
		"Each figure comes from a single run.\n\n")
	b.WriteString(sweep("bytes", bench.AnswerSides, f.answers, func(p bench.Point) string {
		return cell(p.Result.PerSecond()) + "/s" + serverTime(p)
	}) + "\n")
}

func (f *figures) writeGrowth(b *strings.Builder) {
	b.WriteString("## Growth\n\nLifecycles with 16 callers, by the number of live requests. " +
		"The live requests are in one\nmailbox, or in many mailboxes of ten requests. " +
		"The lifecycles use the same mailboxes.\nEach figure comes from a single run.\n\n")
	b.WriteString(sweep("live requests", bench.GrowthSides, f.growth, func(p bench.Point) string {
		text := cell(p.Result.PerSecond()) + "/s" + serverTime(p)
		if p.Size < 10_000 { // too few to measure by the growth of a process
			return text
		}
		return text + ", " + cell(p.Bytes) + " B a request"
	}) + "\n")
	var sizes []string
	var perSecond []float64
	for _, p := range f.growth {
		if p.Side == "redis, many" {
			sizes = append(sizes, fmt.Sprint(p.Size))
			perSecond = append(perSecond, p.Result.PerSecond())
		}
	}
	title := "Lifecycles a second over Redis, by live requests in many mailboxes"
	b.WriteString(chart(title, "lifecycles/s", sizes, perSecond) + "\n")
}

// serverTime returns the CPU time of the server, if a point has one.
func serverTime(p bench.Point) string {
	if strings.HasPrefix(p.Side, "memory") {
		return ""
	}
	return ", " + cell(bench.ServerCPU(p.Result)) + " µs of the server"
}

// sweep is a table with a row for each side and a column for each size.
func sweep(
	what string, sides []string, points []bench.Point, show func(bench.Point) string) string {
	head, rows := []string{what}, make([][]string, len(sides))
	for i, side := range sides {
		rows[i] = []string{side}
		for _, p := range points {
			if p.Side != side {
				continue
			}
			rows[i] = append(rows[i], show(p))
			if i == 0 {
				head = append(head, fmt.Sprint(p.Size))
			}
		}
	}
	return table(head, rows)
}

func (f *figures) writeSizes(b *strings.Builder) {
	b.WriteString("## Sizes\n\nEach figure comes from a single run.\n\n")
	b.WriteString(table([]string{"what", "bytes"}, [][]string{
		{"a pending request in memory", cell(f.heap)},
		{fmt.Sprintf("each of %d waiters over Redis, with its goroutine", f.waiters),
			cell(f.perWaiter)},
	}) + "\n")
}
