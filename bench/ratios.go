package bench

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/skills"
)

// Ratio is something that this library has to reach, measured beside what it is compared with in one run.
type Ratio struct {
	Name   string
	Got    float64
	Target float64
	AtMost bool // the target is the most, not the least, that is good
	Unit   string
	Bare   float64 // the same of bare, the baseline that does the least; 0 where it has none
}

// Reached reports whether the target is.
func (r Ratio) Reached() bool {
	if r.AtMost {
		return r.Got <= r.Target
	}
	return r.Got >= r.Target
}

// Suite measures ratios. Rounds are short and interleaved, so that a machine that is busy for a while is so for both sides,
// and the median of the rounds' ratios counts.
type Suite struct {
	Addr       string
	Rounds     int
	Lifecycles int // of a side in a round
	Swept      int // operations of a point of a sweep
	Progress   func(format string, args ...any)
}

// Runs are the results of some rounds, by side.
type Runs map[string][]Result

// side is one of those that are compared.
type side struct {
	name  string
	stack Stack
}

// Median is the median of a figure over a side's rounds.
func (r Runs) Median(side string, figure func(Result) float64) float64 {
	values := make([]float64, 0, len(r[side]))
	for _, result := range r[side] {
		values = append(values, figure(result))
	}
	return median(values)
}

// Ratio is the median of a figure of one side against the same of another in the same round.
func (r Runs) Ratio(side, against string, figure func(Result) float64) float64 {
	values := make([]float64, 0, len(r[side]))
	for round, result := range r[side] {
		values = append(values, figure(result)/figure(r[against][round]))
	}
	return median(values)
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func perSecond(r Result) float64 { return r.PerSecond() }
func serverCPU(r Result) float64 { return float64(r.ServerCPU) }

// compare runs all sides in turn, round after round; the first round only warms up.
func (s *Suite) compare(ctx context.Context, callers int, sides []side, admin redis.UniversalClient) (Runs, error) {
	runs := Runs{}
	for round := range s.Rounds + 1 {
		for _, one := range sides {
			r, err := Run(ctx, one.stack.Lifecycle, callers, s.Lifecycles, admin)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", one.name, err)
			}
			if round > 0 {
				runs[one.name] = append(runs[one.name], r)
			}
			s.Progress("%d callers, round %d of %d: %-13s %7.0f lifecycles/s, server CPU %v", callers, round, s.Rounds, one.name, r.PerSecond(), r.ServerCPU)
		}
	}
	return runs, nil
}

// Redis compares lifecycles over Redis at so many callers.
func (s *Suite) Redis(ctx context.Context, callers int) (Runs, error) {
	admin := NewClient(s.Addr, 1)
	defer admin.Close()
	plain := NewClient(s.Addr, callers)
	defer plain.Close()
	sides := []side{{"floor", NewFloor(plain)}, {"original", NewOriginal(plain)}}
	for _, mode := range PipelineModes {
		client := NewClient(s.Addr, callers)
		defer client.Close()
		library, err := NewRedis(client, "msgpack", Pipelines[mode])
		if err != nil {
			return nil, err
		}
		least, err := NewBare(client, Pipelines[mode])
		if err != nil {
			return nil, err
		}
		sides = append(sides, side{"pendingq-" + mode, library}, side{"bare-" + mode, least})
	}
	return s.compare(ctx, callers, sides, admin)
}

// RedisSides are the names of those that Redis compares, from the least to the most that they do.
func RedisSides() []string {
	sides := []string{"floor", "original"}
	for _, kind := range []string{"bare-", "pendingq-"} {
		for _, mode := range PipelineModes {
			sides = append(sides, kind+mode)
		}
	}
	return sides
}

// RedisRatios are the ratios of runs with 64 and with 512 callers.
func RedisRatios(at64, at512 Runs) []Ratio {
	ratio := func(name string, runs Runs, mode, against string, figure func(Result) float64, target float64, atMost bool) Ratio {
		return Ratio{Name: name, Got: runs.Ratio("pendingq-"+mode, against, figure), Bare: runs.Ratio("bare-"+mode, against, figure),
			Target: target, AtMost: atMost, Unit: "×"}
	}
	pipelined := func(mode string) Ratio {
		return ratio("the same with AutoPipeline", at64, mode, "original", serverCPU, 0.50, true)
	}
	leaner := pipelined("half")
	if full := pipelined("full"); full.Got < leaner.Got {
		leaner = full
	}
	return []Ratio{
		ratio("server CPU a lifecycle against original, 64 callers", at64, "off", "original", serverCPU, 0.70, true),
		leaner,
		ratio("lifecycles/s against original, 64 callers, plain", at64, "off", "original", perSecond, 1.5, false),
		ratio("lifecycles/s against original, 512 callers, full duplex", at512, "full", "original", perSecond, 3.0, false),
		ratio("lifecycles/s against floor, 64 callers, plain", at64, "off", "floor", perSecond, 0.6, false),
		ratio("lifecycles/s against floor, 512 callers, full duplex", at512, "full", "floor", perSecond, 1.2, false),
	}
}

// Trips counts the round trips of a lifecycle and of heartbeats.
func (s *Suite) Trips(ctx context.Context) ([]Ratio, error) {
	client := NewClient(s.Addr, 1)
	defer client.Close()
	b, err := goredis.New(client, &goredis.Options{Prefix: "bench:"})
	if err != nil {
		return nil, err
	}
	stack, err := NewLibrary(b, "msgpack")
	if err != nil {
		return nil, err
	}
	stores, err := skills.New(b)
	if err != nil {
		return nil, err
	}
	if _, err := stores.Pings.Create(ctx, "busy", skills.Ping{}); err != nil {
		return nil, err
	}
	beat := func(runtime string) func() error {
		return func() error { _, err := stores.Heartbeat(ctx, runtime); return err }
	}
	operations := []struct {
		ratio Ratio
		do    func() error
	}{
		{Ratio{Name: "round trips of a lifecycle", Target: 4, AtMost: true}, func() error { return stack.Lifecycle(ctx, "trips") }},
		{Ratio{Name: "round trips of a heartbeat over five stores, idle", Target: 1, AtMost: true}, beat("idle")},
		{Ratio{Name: "round trips of a heartbeat over five stores, busy", Target: 1, AtMost: true}, beat("busy")},
	}
	if err := operations[0].do(); err != nil { // the first of each script is sent in full
		return nil, err
	}
	counted := &tripCounter{}
	client.AddHook(counted)
	var ratios []Ratio
	for _, operation := range operations {
		before := counted.Load()
		if err := operation.do(); err != nil {
			return nil, err
		}
		operation.ratio.Got = float64(counted.Load() - before)
		ratios = append(ratios, operation.ratio)
	}
	return ratios, nil
}

// tripCounter is a hook that counts how often a client goes to its server.
type tripCounter struct{ atomic.Int64 }

func (c *tripCounter) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *tripCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { c.Add(1); return next(ctx, cmd) }
}

func (c *tripCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { c.Add(1); return next(ctx, cmds) }
}

// Bytes compares what a pending request takes in Redis.
func (s *Suite) Bytes(ctx context.Context, live int) (Ratio, error) {
	client := NewClient(s.Addr, 64)
	defer client.Close()
	library, err := NewRedis(client, "msgpack", goredis.AutoPipelineNever)
	if err != nil {
		return Ratio{}, err
	}
	var perRequest []float64
	for _, stack := range []Stack{NewOriginal(client), library} {
		if err := client.FlushAll(ctx).Err(); err != nil { // a server of our own: see the report's flags
			return Ratio{}, err
		}
		before, err := Memory(ctx, client)
		if err != nil {
			return Ratio{}, err
		}
		if err := Fill(ctx, stack, live, live/10); err != nil {
			return Ratio{}, err
		}
		after, err := Memory(ctx, client)
		if err != nil {
			return Ratio{}, err
		}
		perRequest = append(perRequest, (after-before)/float64(live))
	}
	s.Progress("bytes in Redis a pending request: %.0f, original %.0f", perRequest[1], perRequest[0])
	return Ratio{Name: fmt.Sprintf("bytes in Redis a pending request (%.0f) against original (%.0f)", perRequest[1], perRequest[0]),
		Got: perRequest[1] / perRequest[0], Target: 0.75, AtMost: true, Unit: "×"}, nil
}

// MemoryGrowth compares lifecycles in memory at two numbers of live requests.
func (s *Suite) MemoryGrowth(ctx context.Context, few, many int) (Ratio, error) {
	var sides []side
	for _, live := range []int{few, many} {
		s.Progress("filling the memory backend with %d requests", live)
		stack, err := NewMemory("msgpack")
		if err == nil {
			err = Fill(ctx, stack, live, live/10)
		}
		if err != nil {
			return Ratio{}, err
		}
		sides = append(sides, side{fmt.Sprint(live), stack})
	}
	longer := *s
	longer.Lifecycles *= 20 // in memory they are so short that one garbage collection would tell
	runtime.GC()
	runs, err := longer.compare(ctx, 8, sides, nil)
	if err != nil {
		return Ratio{}, err
	}
	return Ratio{Name: fmt.Sprintf("memory backend: cost of a lifecycle at %d live requests against %d", many, few),
		Got: runs.Ratio(sides[0].name, sides[1].name, perSecond), Target: 2, AtMost: true, Unit: "×"}, nil
}

// MemoryAgainstOriginal compares the memory backend with the original one at so many live requests.
func (s *Suite) MemoryAgainstOriginal(ctx context.Context, live int) (Ratio, error) {
	library, err := NewMemory("msgpack")
	if err != nil {
		return Ratio{}, err
	}
	sides := []side{{"original-memory", NewOriginalMemory()}, {"pendingq-memory", library}}
	for _, one := range sides {
		s.Progress("filling %s with %d requests", one.name, live)
		if err := Fill(ctx, one.stack, live, live/10); err != nil {
			return Ratio{}, err
		}
	}
	fewer := *s
	fewer.Lifecycles = min(s.Lifecycles, 500) // original takes a millisecond and more for each
	runs, err := fewer.compare(ctx, 8, sides, nil)
	if err != nil {
		return Ratio{}, err
	}
	return Ratio{Name: fmt.Sprintf("memory backend: lifecycles/s against original's at %d live requests", live),
		Got: runs.Ratio("pendingq-memory", "original-memory", perSecond), Target: 50, Unit: "×"}, nil
}

// Allocations is how many allocations a lifecycle in memory makes beyond those of the codec: two encodings and three
// decodings.
func (s *Suite) Allocations(ctx context.Context) (Ratio, error) {
	stack, err := NewMemory("msgpack")
	if err != nil {
		return Ratio{}, err
	}
	const runs = 2000
	all := testing.AllocsPerRun(runs, func() { err = stack.Lifecycle(ctx, "allocations") })
	if err != nil {
		return Ratio{}, err
	}
	answered := question
	answered.Output = answer
	// A lifecycle encodes the question and the answer, and decodes the question twice and the answer once.
	codecs := codecAllocations(question, runs, 1, 2) + codecAllocations(answered, runs, 1, 1)
	s.Progress("allocations of a lifecycle in memory: %.0f, %.0f of them the codec's", all, codecs)
	return Ratio{Name: "allocations of a lifecycle in memory beyond the codec's", Got: all - codecs, Target: 20, AtMost: true}, nil
}

func codecAllocations(job Job, runs int, encodings, decodings float64) float64 {
	c := codecOf[Job]("msgpack")
	encoded, err := c.Marshal(job)
	if err != nil {
		panic(err) // the payloads here are known to be good
	}
	return encodings*testing.AllocsPerRun(runs, func() { _, _ = c.Marshal(job) }) +
		decodings*testing.AllocsPerRun(runs, func() { _, _ = c.Unmarshal(encoded) })
}

// PickupRatios are the latencies of those who wait.
func (s *Suite) PickupRatios(ctx context.Context, n int) ([]Ratio, error) {
	client := NewClient(s.Addr, 16)
	defer client.Close()
	l, err := Pickup(ctx, client, n)
	return []Ratio{
		{Name: "pick-up latency p99, idle, by push instead of a 15 s heartbeat", Got: l.PickupP99.Seconds() * 1000, Target: 5, AtMost: true, Unit: " ms"},
		{Name: "answer latency p99, idle, by push instead of a 500 ms poll", Got: l.AnswerP99.Seconds() * 1000, Target: 5, AtMost: true, Unit: " ms"},
	}, err
}
