package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pendingq/pendingq/bench"
)

// codecFigure is one operation of one codec on one payload.
type codecFigure struct {
	payload, codec, op string
	bytes              int
	run                func(b *testing.B)
	rounds             []testing.BenchmarkResult
}

// runCodecs runs all operations in turn, round after round.
func (f *figures) runCodecs(ctx context.Context, how size, tell progress) error {
	if err := flag.Set("test.benchtime", how.benchtime.String()); err != nil {
		return err
	}
	for _, p := range bench.Payloads() {
		for _, codec := range slices.Concat(bench.CodecNames, bench.WrappedNames) {
			for _, op := range []string{"marshal", "unmarshal"} {
				run := func(b *testing.B) { p.Run(b, codec, op) }
				f.codecs = append(f.codecs, codecFigure{p.Name, codec, op, p.Size(codec), run, nil})
			}
		}
	}
	for round := range how.codecRounds {
		tell("codecs, round %d of %d", round+1, how.codecRounds)
		for i := range f.codecs {
			if err := ctx.Err(); err != nil {
				return err
			}
			c := &f.codecs[i]
			c.rounds = append(c.rounds, testing.Benchmark(c.run))
		}
	}
	return nil
}

// median returns the median of a figure over the rounds.
func (c *codecFigure) median(figure func(testing.BenchmarkResult) int64) float64 {
	var values []int64
	for _, r := range c.rounds {
		values = append(values, figure(r))
	}
	slices.Sort(values)
	return float64(values[len(values)/2])
}

// cell returns the time and the allocations of the operation.
func (c *codecFigure) cell() string {
	return fmt.Sprintf("%s µs, %.0f allocs", cell(c.median(testing.BenchmarkResult.NsPerOp)/1000),
		c.median(testing.BenchmarkResult.AllocsPerOp))
}

// raw writes a line for each round, in the format of go test.
func (c *codecFigure) raw(b *strings.Builder) {
	for _, r := range c.rounds {
		fmt.Fprintf(b, "BenchmarkCodec/payload=%s/codec=%s/op=%s %s\t%d encoded-bytes\t%s\n",
			c.payload, c.codec, c.op, r, c.bytes, r.MemString())
	}
}

func (f *figures) writeCodecs(b *strings.Builder) {
	b.WriteString("## Codecs\n\n")
	var names []string
	var smaller []float64
	var rows [][]string
	plain := 0
	for i := 0; i+1 < len(f.codecs); i += 2 {
		encode, decode := &f.codecs[i], &f.codecs[i+1]
		rows = append(rows, []string{encode.payload, encode.codec, encode.cell(), decode.cell(),
			fmt.Sprint(encode.bytes)})
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
