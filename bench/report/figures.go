package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/pendingq/pendingq/bench"
)

// figures are what a report is made of.
type figures struct {
	machine      string
	ratios       []bench.Ratio
	lifecycles   map[int]bench.Runs // by callers
	network      map[int]bench.Runs // by callers
	heartbeats   bench.Runs
	crowd        bench.Runs
	overHTTP     bench.Runs
	codecs       []codecFigure
	growth       []bench.Point
	answers      []bench.Point
	heap         float64 // bytes of a pending request in memory
	perWaiter    float64 // bytes of a waiter
	waiters      int
	instructions string // tables that another program wrote; empty without them
	overPostgres string // the same
}

type progress = func(format string, args ...any)

func collect(ctx context.Context, addr string, how size, tell progress) (*figures, error) {
	s := &bench.Suite{
		Addr: addr, Rounds: how.rounds, Each: how.each, Swept: how.swept, Progress: tell}
	f := &figures{lifecycles: map[int]bench.Runs{}, network: map[int]bench.Runs{}}
	var err error
	if f.machine, err = machine(ctx, addr); err != nil {
		return nil, err
	}
	if f.ratios, err = s.Trips(ctx); err != nil {
		return nil, err
	}
	if err := f.compare(ctx, s); err != nil {
		return nil, err
	}
	f.ratios = append(f.ratios, bench.Targets(f.lifecycles, f.network, f.heartbeats, f.crowd)...)
	if err := f.further(ctx, s, how); err != nil {
		return nil, err
	}
	if err := f.sizes(ctx, addr, how, tell); err != nil {
		return nil, err
	}
	if f.growth, err = s.Growth(ctx, how.grown); err != nil {
		return nil, err
	}
	if f.answers, err = s.Answers(ctx, how.answers); err != nil {
		return nil, err
	}
	return f, f.runCodecs(ctx, how, tell)
}

// compare runs the comparisons with rounds.
func (f *figures) compare(ctx context.Context, s *bench.Suite) (err error) {
	for _, callers := range bench.Callers {
		if f.lifecycles[callers], err = s.Lifecycles(ctx, callers); err != nil {
			return err
		}
	}
	for _, callers := range bench.NetworkCallers {
		if f.network[callers], err = s.Network(ctx, callers); err != nil {
			return err
		}
	}
	if f.heartbeats, err = s.Heartbeats(ctx); err != nil {
		return err
	}
	if f.crowd, err = s.Crowd(ctx); err != nil {
		return err
	}
	f.overHTTP, err = s.OverHTTP(ctx)
	return err
}

// further measures the targets that need no comparison over Redis.
func (f *figures) further(ctx context.Context, s *bench.Suite, how size) error {
	for _, measure := range []func() (bench.Ratio, error){
		func() (bench.Ratio, error) { return s.Bytes(ctx, how.live) },
		func() (bench.Ratio, error) { return s.MemoryGrowth(ctx, 1000, how.many) },
		func() (bench.Ratio, error) { return s.MemoryAgainstOriginal(ctx, min(10_000, how.live)) },
		func() (bench.Ratio, error) { return s.Allocations(ctx) },
		func() (bench.Ratio, error) { return s.HTTPPickup(ctx, how.pickups) },
	} {
		r, err := measure()
		if err != nil {
			return err
		}
		f.ratios = append(f.ratios, r)
	}
	latencies, err := s.PickupRatios(ctx, how.pickups)
	f.ratios = append(f.ratios, latencies...)
	return err
}

// sizes measures what a pending request and a waiter take in memory.
func (f *figures) sizes(ctx context.Context, addr string, how size, tell progress) error {
	stack, err := bench.NewMemory()
	if err != nil {
		return err
	}
	if f.heap, err = bench.FillMemory(ctx, stack, how.live, how.live/10); err != nil {
		return err
	}
	tell("memory backend: %.0f bytes a pending request", f.heap)
	client := bench.NewClient(addr, 64)
	defer client.Close()
	f.waiters = min(10_000, how.live)
	f.perWaiter, err = bench.ParkedMemory(ctx, client, f.waiters)
	tell("%d waiters: %.0f bytes each", f.waiters, f.perWaiter)
	return err
}

// machine describes the machine and the server.
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
	return fmt.Sprintf("%s, %d cores shared by client and server; %s %s/%s; Redis %s; %s",
		cpuModel(), runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, version,
		time.Now().UTC().Format(time.DateOnly)), nil
}

func cpuModel() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "an unnamed CPU"
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "an unnamed CPU"
}

// raw returns the figures in the format of go test, for benchstat.
func (f *figures) raw() string {
	var b strings.Builder
	for _, c := range f.codecs {
		c.raw(&b)
	}
	for _, callers := range bench.Callers {
		rawRuns(&b, fmt.Sprintf("Lifecycle/over=redis/callers=%d", callers), f.lifecycles[callers])
	}
	for _, callers := range bench.NetworkCallers {
		rawRuns(&b, fmt.Sprintf("Lifecycle/over=network/callers=%d", callers), f.network[callers])
	}
	rawRuns(&b, "Heartbeat", f.heartbeats)
	rawRuns(&b, "Crowd", f.crowd)
	rawRuns(&b, "OverHTTP", f.overHTTP)
	for _, p := range f.growth {
		rawResult(&b, fmt.Sprintf("Growth/live=%d", p.Size), p.Side, p.Result)
	}
	for _, p := range f.answers {
		rawResult(&b, fmt.Sprintf("Answer/bytes=%d", p.Size), p.Side, p.Result)
	}
	return b.String()
}

func rawRuns(b *strings.Builder, name string, runs bench.Runs) {
	for _, side := range slices.Sorted(maps.Keys(runs)) {
		for _, r := range runs[side] {
			rawResult(b, name, side, r)
		}
	}
}

var dashes = strings.NewReplacer(", ", "-", " ", "-")

func rawResult(b *strings.Builder, name, side string, r bench.Result) {
	fmt.Fprintf(b, "Benchmark%s/side=%s %d\t%d ns/op\t%.1f op/s\t"+
		"%d p50-ns\t%d p99-ns\t%d server-cpu-ns/op\n",
		name, dashes.Replace(side), r.N, r.Elapsed.Nanoseconds()/int64(r.N), r.PerSecond(),
		r.P50.Nanoseconds(), r.P99.Nanoseconds(), r.ServerCPU.Nanoseconds())
}
