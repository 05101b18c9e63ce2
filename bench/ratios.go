package bench

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends/goredis"
)

// Ratio is a figure with a target.
type Ratio struct {
	Name   string
	Got    float64
	Target float64
	AtMost bool // the target is an upper bound, not a lower one
	Unit   string
}

// Reached reports whether the target is reached.
func (r Ratio) Reached() bool {
	if r.AtMost {
		return r.Got <= r.Target
	}
	return r.Got >= r.Target
}

// against compares a figure of two sides. The target is a lower bound.
func (r Runs) against(name, side, other string, figure func(Result) float64, target float64) Ratio {
	return Ratio{Name: name, Got: r.Ratio(side, other, figure), Target: target, Unit: "×"}
}

// atMost makes the target an upper bound.
func (r Ratio) atMost() Ratio {
	r.AtMost = true
	return r
}

// Targets returns the targets that comparisons over Redis have. Lifecycles and network are by
// callers.
func Targets(lifecycles, network map[int]Runs, heartbeats, crowd Runs) []Ratio {
	const library, old = "pendingq", "original"
	at1, at8, at64, at512 := lifecycles[1], lifecycles[8], lifecycles[64], lifecycles[512]
	return []Ratio{
		at1.against("1 caller: lifecycles/s against original", library, old, PerSecond, 1.35),
		at1.against("1 caller: p99 against original", library, old, P99, 1).atMost(),
		at8.against("8 callers: lifecycles/s against original", library, old, PerSecond, 1.15),
		at64.against("64 callers: lifecycles/s against original", library, old, PerSecond, 1.9),
		at64.against("64 callers: server CPU against original",
			library, old, ServerCPU, 0.65).atMost(),
		at64.against("64 callers: lifecycles/s against floor", library, "floor", PerSecond, 0.95),
		at512.against("512 callers: lifecycles/s against original", library, old, PerSecond, 2.5),
		at512.against("512 callers: server CPU against original",
			library, old, ServerCPU, 0.6).atMost(),
		network[1].against("1 ms of network, 1 caller: p50 against original",
			library, old, P50, 0.62).atMost(),
		heartbeats.against("idle heartbeat over five stores: server CPU against original",
			"pendingq, idle", "original, idle", ServerCPU, 0.33).atMost(),
		crowd.against("claim among 10,000 running: server CPU against an empty mailbox",
			"claim, crowded", "claim, empty", ServerCPU, 1.2).atMost(),
	}
}

// Bytes compares the memory of a pending request in Redis.
func (s *Suite) Bytes(ctx context.Context, live int) (Ratio, error) {
	var perRequest []float64
	for _, name := range []string{"original", "pendingq"} {
		used, err := s.FillRedis(ctx, name, live, live/10)
		if err != nil {
			return Ratio{}, err
		}
		perRequest = append(perRequest, used)
	}
	old, library := perRequest[0], perRequest[1]
	name := fmt.Sprintf("bytes in Redis a pending request (%.0f) against original (%.0f)",
		library, old)
	s.Progress("%s", name)
	return Ratio{Name: name, Got: library / old, Target: 0.75, AtMost: true, Unit: "×"}, nil
}

// MemoryGrowth compares lifecycles in memory at two numbers of live requests.
func (s *Suite) MemoryGrowth(ctx context.Context, few, many int) (Ratio, error) {
	var sides []Side
	for _, live := range []int{few, many} {
		s.Progress("filling the memory backend with %d requests", live)
		stack, err := NewMemory()
		if err == nil {
			err = Fill(ctx, stack, live, live/10)
		}
		if err != nil {
			return Ratio{}, err
		}
		sides = append(sides, Side{fmt.Sprint(live), stack.Lifecycle})
	}
	runtime.GC()
	// A round in memory is long, or one garbage collection would decide it.
	runs, err := s.compare(ctx, "memory, by live requests", sides, 8, s.Each*10, nil)
	if err != nil {
		return Ratio{}, err
	}
	name := fmt.Sprintf("memory backend: lifecycle at %d live requests against %d", many, few)
	return runs.against(name, sides[0].Name, sides[1].Name, PerSecond, 2).atMost(), nil
}

// MemoryAgainstOriginal compares the memory backend with the original one at so many live requests.
func (s *Suite) MemoryAgainstOriginal(ctx context.Context, live int) (Ratio, error) {
	library, err := NewMemory()
	if err != nil {
		return Ratio{}, err
	}
	old := NewOriginalMemory()
	for _, stack := range []Stack{old, library} {
		if err := Fill(ctx, stack, live, live/10); err != nil {
			return Ratio{}, err
		}
	}
	sides := []Side{{"original", old.Lifecycle}, {"pendingq", library.Lifecycle}}
	n := min(s.Each, 500) // original takes a millisecond and more for each
	runs, err := s.compare(ctx, "memory, against original", sides, 8, n, nil)
	if err != nil {
		return Ratio{}, err
	}
	name := fmt.Sprintf("memory backend: lifecycles/s against original at %d live requests", live)
	return runs.against(name, "pendingq", "original", PerSecond, 50), nil
}

// Allocations counts the allocations of a lifecycle in memory without those of the codec.
func (s *Suite) Allocations(ctx context.Context) (Ratio, error) {
	stack, err := NewMemory()
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
	// A lifecycle encodes the question and the answer, and decodes the question twice and the
	// answer once.
	codecs := codecAllocations(question, runs, 1, 2) + codecAllocations(answered, runs, 1, 1)
	s.Progress("allocations of a lifecycle in memory: %.0f, %.0f of them the codec's", all, codecs)
	name := "allocations of a lifecycle in memory beyond the codec's"
	return Ratio{Name: name, Got: all - codecs, Target: 20, AtMost: true}, nil
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

// PickupRatios measures how soon a waiter is woken.
func (s *Suite) PickupRatios(ctx context.Context, n int) ([]Ratio, error) {
	client := NewClient(s.Addr, 16)
	defer client.Close()
	b, err := goredis.New(client, &goredis.Options{PollInterval: time.Hour})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	l, err := Pickup(ctx, b, n)
	if err != nil {
		return nil, err
	}
	cancelled, err := Cancels(ctx, b, n)
	return []Ratio{
		{Name: "pick-up latency p99, idle, by push instead of a 15 s heartbeat",
			Got: micros(l.PickupP99) / 1000, Target: 5, AtMost: true, Unit: " ms"},
		{Name: "answer latency p99, idle, by push instead of a 500 ms poll",
			Got: micros(l.AnswerP99) / 1000, Target: 5, AtMost: true, Unit: " ms"},
		{Name: "cancel latency p99, idle, from Cancel to the end of the handler's context",
			Got: micros(cancelled) / 1000, Target: 5, AtMost: true, Unit: " ms"},
	}, err
}
