package main

import (
	"fmt"
	"strings"

	"github.com/pendingq/pendingq/bench"
)

// report writes everything as Markdown.
func (f *figures) report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# What it costs\n\nMeasured on %s. Regenerate with `go run ./report` in the folder `bench`.\n\n", f.machine)
	b.WriteString("Sides that are compared ran in turn, round after round. Of figures the median counts, of ratios that of the rounds'\n" +
		"ratios, which may differ from the ratio of the medians on a machine that is not always as fast. *floor* is four plain\n" +
		"commands (SET GET SET GET) with values of the same sizes; *original* is the layout of the hand-written stores: a JSON\n" +
		"record and a sorted set, seven round trips a lifecycle (create, pop, complete, get); *bare* is four scripts of the fewest\n" +
		"commands that make each operation one step, by the server's clock, and keep no other promise: how far one can go here.\n\n")
	f.writeRatios(&b)
	f.writeLifecycles(&b)
	f.writeHeartbeats(&b)
	f.writeAnswers(&b)
	f.writeGrowth(&b)
	f.writeCodecs(&b)
	f.writeSizes(&b)
	b.WriteString(conclusions)
	return b.String()
}

func (f *figures) writeRatios(b *strings.Builder) {
	b.WriteString("## Targets\n\n")
	var rows [][]string
	for _, r := range f.ratios {
		bound, verdict := "at least ", "reached"
		if r.AtMost {
			bound = "at most "
		}
		if !r.Reached() {
			verdict = "**not reached**"
		}
		bare := ""
		if r.Bare != 0 {
			bare = cell(r.Bare) + r.Unit
		}
		rows = append(rows, []string{r.Name, cell(r.Got) + r.Unit, bound + cell(r.Target) + r.Unit, verdict, bare})
	}
	b.WriteString(table([]string{"what", "measured", "target", "", "bare"}, rows) + "\n")
}

func (f *figures) writeLifecycles(b *strings.Builder) {
	b.WriteString("## Lifecycles over Redis\n\n")
	sides := bench.RedisSides()
	var rows [][]string
	for _, at := range []struct {
		callers int
		runs    bench.Runs
	}{{64, f.at64}, {512, f.at512}} {
		var drawn []string
		var perSecond []float64
		for _, side := range sides {
			second := at.runs.Median(side, bench.Result.PerSecond)
			if !strings.HasPrefix(side, "bare-") { // a person can read five bars at a glance
				drawn, perSecond = append(drawn, side), append(perSecond, second)
			}
			rows = append(rows, []string{fmt.Sprintf("%s, %d callers", side, at.callers), cell(second),
				cell(at.runs.Median(side, func(r bench.Result) float64 { return float64(r.P50.Microseconds()) / 1000 })),
				cell(at.runs.Median(side, func(r bench.Result) float64 { return float64(r.P99.Microseconds()) / 1000 })),
				cell(at.runs.Median(side, func(r bench.Result) float64 { return float64(r.ServerCPU.Nanoseconds()) / 1000 }))})
		}
		b.WriteString(chart(fmt.Sprintf("Lifecycles a second, %d callers", at.callers), "lifecycles/s", drawn, perSecond) + "\n")
	}
	b.WriteString(table([]string{"side", "lifecycles/s", "p50 ms", "p99 ms", "server CPU µs"}, rows) + "\n")
	b.WriteString("The suffix is go-redis's autopipeliner: off, half-duplex or full-duplex.\n\n")
}

func (f *figures) writeHeartbeats(b *strings.Builder) {
	b.WriteString("## Heartbeats\n\nOver five stores, with 16 callers, for so many runtimes in turn. *With a ping* includes asking for it.\n\n")
	b.WriteString(sweep("runtimes", bench.HeartbeatSides, f.beats, func(p bench.Point) string {
		return cell(p.Result.PerSecond()) + "/s" + serverTime(p)
	}) + "\n")
}

func (f *figures) writeAnswers(b *strings.Builder) {
	b.WriteString("## Large answers\n\nLifecycles with 16 callers and answers of so many bytes: a list of 1000 skills has 250000, an import up to 8 million.\n\n")
	b.WriteString(sweep("bytes", bench.AnswerSides, f.answers, func(p bench.Point) string {
		return cell(p.Result.PerSecond()) + "/s" + serverTime(p)
	}) + "\n")
}

func (f *figures) writeGrowth(b *strings.Builder) {
	b.WriteString("## Growth\n\nLifecycles with 16 callers among so many live requests, in the mailboxes that have them: one, or one for ten requests.\n\n")
	b.WriteString(sweep("live requests", bench.GrowthSides, f.growth, func(p bench.Point) string {
		return cell(p.Result.PerSecond()) + "/s" + serverTime(p) + ", " + cell(p.Bytes) + " B a request"
	}) + "\n")
	var sizes []string
	var perSecond []float64
	for _, p := range f.growth {
		if p.Side == "redis, many" {
			sizes, perSecond = append(sizes, fmt.Sprint(p.Size)), append(perSecond, p.Result.PerSecond())
		}
	}
	b.WriteString(chart("Lifecycles a second over Redis, by live requests in many mailboxes", "lifecycles/s", sizes, perSecond) + "\n")
}

// serverTime tells the CPU time of the server, if a point has one.
func serverTime(p bench.Point) string {
	if strings.HasPrefix(p.Side, "memory") {
		return ""
	}
	return ", " + cell(float64(p.Result.ServerCPU.Nanoseconds())/1000) + " µs of the server"
}

// sweep is a table with a row for each side and a column for each size.
func sweep(what string, sides []string, points []bench.Point, show func(bench.Point) string) string {
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

func (f *figures) writeCodecs(b *strings.Builder) {
	b.WriteString("## Codecs\n\n")
	var names []string
	var smaller []float64
	var rows [][]string
	plain := 0
	for i := 0; i+1 < len(f.codecs); i += 2 {
		encode, decode := f.codecs[i], f.codecs[i+1]
		row := []string{encode.payload, encode.codec, "", "", fmt.Sprint(encode.bytes)}
		for j, c := range []codecFigure{encode, decode} {
			row[2+j] = fmt.Sprintf("%s µs, %d allocs",
				cell(float64(c.result.NsPerOp())/1000), c.result.AllocsPerOp())
		}
		rows = append(rows, row)
		switch encode.codec {
		case "json":
			plain = encode.bytes
		case "zstd.msgpack":
			names = append(names, encode.payload)
			smaller = append(smaller, 100*float64(encode.bytes)/float64(plain))
		}
	}
	b.WriteString(table([]string{"payload", "codec", "encode", "decode", "bytes"}, rows) + "\n")
	title := "Size in msgpack, compressed, as a percentage of JSON"
	b.WriteString(chart(title, "%", names, smaller) + "\n")
}

func (f *figures) writeSizes(b *strings.Builder) {
	b.WriteString("## Sizes\n\n")
	b.WriteString(table([]string{"what", "bytes"}, [][]string{
		{"a pending request in memory", cell(f.heap)},
		{fmt.Sprintf("one of %d who wait over Redis, goroutine included", f.waiters), cell(f.perWaiter)},
	}) + "\n")
}
