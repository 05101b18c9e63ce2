package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/bench"
)

// figures are what a report is made of.
type figures struct {
	machine    string
	ratios     []bench.Ratio
	at64       bench.Runs
	at512      bench.Runs
	codecs     []codecFigure
	beats      []bench.Point
	growth     []bench.Point
	answers    []bench.Point
	heap       float64 // bytes a pending request in memory
	perWaiter  float64 // bytes one who waits
	waiters    int
	redisBytes bench.Ratio
}

// codecFigure is one operation of one codec on one payload.
type codecFigure struct {
	payload, codec, op string
	bytes              int
	result             testing.BenchmarkResult
}

func collect(ctx context.Context, addr string, how size, progress func(string, ...any)) (*figures, error) {
	s := &bench.Suite{Addr: addr, Rounds: how.rounds, Lifecycles: how.lifecycles, Swept: how.swept, Progress: progress}
	f := &figures{waiters: min(10_000, how.live)}
	var err error
	if f.machine, err = machine(ctx, addr); err != nil {
		return nil, err
	}
	if f.ratios, err = s.Trips(ctx); err != nil {
		return nil, err
	}
	if f.at64, err = s.Redis(ctx, 64); err != nil {
		return nil, err
	}
	if f.at512, err = s.Redis(ctx, 512); err != nil {
		return nil, err
	}
	f.ratios = append(f.ratios, bench.RedisRatios(f.at64, f.at512)...)
	for _, one := range []func() (bench.Ratio, error){
		func() (r bench.Ratio, err error) {
			f.redisBytes, err = s.Bytes(ctx, how.live)
			return f.redisBytes, err
		},
		func() (bench.Ratio, error) { return s.MemoryGrowth(ctx, 1000, how.many) },
		func() (bench.Ratio, error) { return s.MemoryAgainstOriginal(ctx, min(10_000, how.many)) },
		func() (bench.Ratio, error) { return s.Allocations(ctx) },
	} {
		r, err := one()
		if err != nil {
			return nil, err
		}
		f.ratios = append(f.ratios, r)
	}
	latencies, err := s.PickupRatios(ctx, how.pickups)
	if err != nil {
		return nil, err
	}
	f.ratios = append(f.ratios, latencies...)
	if err := f.sizes(ctx, addr, how, progress); err != nil {
		return nil, err
	}
	if f.beats, err = s.Heartbeats(ctx, how.runtimes); err != nil {
		return nil, err
	}
	if f.growth, err = s.Growth(ctx, how.grown); err != nil {
		return nil, err
	}
	if f.answers, err = s.Answers(ctx, how.answers); err != nil {
		return nil, err
	}
	return f, f.runCodecs(ctx, how, progress)
}

// sizes measures what one pending request and one who waits take in memory.
func (f *figures) sizes(ctx context.Context, addr string, how size, progress func(string, ...any)) error {
	stack, err := bench.NewMemory("msgpack")
	if err != nil {
		return err
	}
	if f.heap, err = bench.HeapPerPending(ctx, stack, how.live); err != nil {
		return err
	}
	progress("memory backend: %.0f bytes a pending request", f.heap)
	client := bench.NewClient(addr, 64)
	defer client.Close()
	f.perWaiter, err = bench.ParkedMemory(ctx, client, f.waiters)
	progress("%d who wait: %.0f bytes each", f.waiters, f.perWaiter)
	return err
}

func (f *figures) runCodecs(ctx context.Context, how size, progress func(string, ...any)) error {
	if err := flag.Set("test.benchtime", how.benchtime.String()); err != nil {
		return err
	}
	for _, p := range bench.Payloads() {
		progress("codecs on %s", p.Name)
		for _, codec := range slices.Concat(bench.CodecNames, bench.WrappedNames) {
			for _, op := range []string{"marshal", "unmarshal"} {
				if err := ctx.Err(); err != nil {
					return err
				}
				result := testing.Benchmark(func(b *testing.B) { p.Run(b, codec, op) })
				f.codecs = append(f.codecs, codecFigure{p.Name, codec, op, p.Size(codec), result})
			}
		}
	}
	return nil
}

// machine says what everything ran on.
func machine(ctx context.Context, addr string) (string, error) {
	client := bench.NewClient(addr, 1)
	defer client.Close()
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return "", err
	}
	version := "?"
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			version = v
		}
	}
	return fmt.Sprintf("%s, %d cores shared by client and server; %s %s/%s; Redis %s; %s", cpuModel(), runtime.NumCPU(),
		runtime.Version(), runtime.GOOS, runtime.GOARCH, version, time.Now().UTC().Format(time.DateOnly)), nil
}

func cpuModel() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "an unnamed CPU"
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "an unnamed CPU"
}

// raw is the output as go test would have written it, for benchstat.
func (f *figures) raw() string {
	var b strings.Builder
	for _, c := range f.codecs {
		fmt.Fprintf(&b, "BenchmarkCodec/payload=%s/codec=%s/op=%s %s\t%d encoded-bytes\t%s\n", c.payload, c.codec, c.op, c.result, c.bytes, c.result.MemString())
	}
	for name, points := range map[string][]bench.Point{"Heartbeat": f.beats, "Growth": f.growth, "Answer": f.answers} {
		for _, p := range points {
			fmt.Fprintf(&b, "Benchmark%s/side=%s/size=%d %d\t%d ns/op\t%d server-cpu-ns/op\n", name, strings.ReplaceAll(p.Side, " ", "_"),
				p.Size, p.Result.Lifecycles, p.Result.PerLifecycle().Nanoseconds(), p.Result.ServerCPU.Nanoseconds())
		}
	}
	for callers, runs := range map[int]bench.Runs{64: f.at64, 512: f.at512} {
		for side, results := range runs {
			for _, r := range results {
				fmt.Fprintf(&b, "BenchmarkLifecycle/side=%s/callers=%d %d\t%d ns/op\t%.1f lifecycles/s\t%d p50-ns\t%d p99-ns\t%d server-cpu-ns/op\n",
					side, callers, r.Lifecycles, r.PerLifecycle().Nanoseconds(), r.PerSecond(), r.P50.Nanoseconds(), r.P99.Nanoseconds(),
					r.ServerCPU.Nanoseconds())
			}
		}
	}
	return b.String()
}
