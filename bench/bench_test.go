package bench

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/skills"
)

// full also runs the largest sizes, which take minutes.
var full = flag.Bool("full", false, "also the largest sizes: a million live requests, 10,000 runtimes")

func BenchmarkCodec(b *testing.B) {
	for _, p := range Payloads() {
		for _, codecName := range slices.Concat(CodecNames, WrappedNames) {
			for _, op := range []string{"marshal", "unmarshal"} {
				b.Run(fmt.Sprintf("payload=%s/codec=%s/op=%s", p.Name, codecName, op), func(b *testing.B) {
					p.Run(b, codecName, op)
					b.ReportMetric(float64(p.Size(codecName)), "encoded-bytes")
				})
			}
		}
	}
}

// server starts a redis-server for a benchmark.
func server(b *testing.B) string {
	b.Helper()
	redistest.Need(b)
	addr, stop, err := StartServer(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	return addr
}

func client(b *testing.B, addr string, callers int) *redis.Client {
	c := NewClient(addr, callers)
	b.Cleanup(func() { c.Close() })
	return c
}

func must[T any](b *testing.B) func(T, error) T {
	return func(value T, err error) T {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
		return value
	}
}

// lifecycles measures a stack and reports what Run found.
func lifecycles(b *testing.B, s Stack, callers int, admin redis.UniversalClient) {
	b.ReportAllocs()
	b.ResetTimer()
	r := must[Result](b)(Run(b.Context(), s.Lifecycle, callers, b.N, admin))
	b.StopTimer()
	b.ReportMetric(r.PerSecond(), "lifecycles/s")
	b.ReportMetric(float64(r.P50.Microseconds()), "p50-µs")
	b.ReportMetric(float64(r.P99.Microseconds()), "p99-µs")
	if admin != nil {
		b.ReportMetric(float64(r.ServerCPU.Nanoseconds())/1000, "server-cpu-µs/op")
	}
}

var callerCounts = []int{1, 8, 64, 512}

func BenchmarkLifecycle(b *testing.B) {
	for _, codecName := range CodecNames {
		for _, callers := range callerCounts {
			b.Run(fmt.Sprintf("backend=memory/codec=%s/callers=%d", codecName, callers), func(b *testing.B) {
				lifecycles(b, must[Stack](b)(NewMemory(codecName)), callers, nil)
			})
		}
	}
	b.Run("backend=original-memory/codec=none/callers=64", func(b *testing.B) { lifecycles(b, NewOriginalMemory(), 64, nil) })

	addr := server(b)
	admin := client(b, addr, 1)
	for _, callers := range callerCounts {
		plain := client(b, addr, callers)
		for _, codecName := range CodecNames {
			for _, mode := range PipelineModes {
				b.Run(fmt.Sprintf("backend=redis/pipeline=%s/codec=%s/callers=%d", mode, codecName, callers), func(b *testing.B) {
					c := client(b, addr, callers)
					lifecycles(b, must[Stack](b)(NewRedis(c, codecName, Pipelines[mode])), callers, admin)
				})
			}
		}
		b.Run(fmt.Sprintf("backend=original/pipeline=off/codec=json/callers=%d", callers), func(b *testing.B) {
			lifecycles(b, NewOriginal(plain), callers, admin)
		})
		for _, mode := range PipelineModes {
			b.Run(fmt.Sprintf("backend=bare/pipeline=%s/codec=none/callers=%d", mode, callers), func(b *testing.B) {
				c := client(b, addr, callers)
				must[Stack](b)(NewRedis(c, "msgpack", Pipelines[mode])) // for its autopipeliner
				lifecycles(b, must[Stack](b)(NewBare(c, Pipelines[mode])), callers, admin)
			})
		}
		b.Run(fmt.Sprintf("backend=floor/pipeline=off/codec=none/callers=%d", callers), func(b *testing.B) {
			lifecycles(b, NewFloor(plain), callers, admin)
		})
	}
}

// BenchmarkLifecycleElsewhere is that of BenchmarkLifecycle on what few measure, but some run: miniredis, for tests, and a
// Cluster of three masters, which here share a machine.
func BenchmarkLifecycleElsewhere(b *testing.B) {
	_, mini := redistest.Mini(b)
	cluster := redistest.StartCluster(b).ClientWith(b, redis.ClusterOptions{PoolSize: 512})
	for _, callers := range callerCounts {
		for _, codecName := range CodecNames {
			b.Run(fmt.Sprintf("backend=miniredis/pipeline=off/codec=%s/callers=%d", codecName, callers), func(b *testing.B) {
				lifecycles(b, must[Stack](b)(NewRedis(mini, codecName, goredis.AutoPipelineNever)), callers, nil)
			})
			b.Run(fmt.Sprintf("backend=cluster/pipeline=off/codec=%s/callers=%d", codecName, callers), func(b *testing.B) {
				lifecycles(b, must[Stack](b)(NewRedis(cluster, codecName, goredis.AutoPipelineNever)), callers, nil)
			})
		}
	}
	for _, mode := range []string{"half", "full"} {
		b.Run("backend=cluster/pipeline="+mode+"/codec=msgpack/callers=512", func(b *testing.B) {
			c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Options().Addrs, ContextTimeoutEnabled: true})
			defer c.Close()
			lifecycles(b, must[Stack](b)(NewRedis(c, "msgpack", Pipelines[mode])), 512, nil)
		})
	}
}

func BenchmarkHeartbeat(b *testing.B) {
	addr := server(b)
	c := client(b, addr, 16)
	counts := []int{1, 100, 1000}
	if *full {
		counts = append(counts, 10_000)
	}
	redisBackend := must[*goredis.Backend](b)(goredis.New(c, &goredis.Options{Prefix: "bench:"}))
	for name, backend := range map[string]backends.Backend{"memory": memory.New(), "redis": redisBackend} {
		stores := must[*skills.Stores](b)(skills.New(backend))
		for _, runtimes := range counts {
			b.Run(fmt.Sprintf("backend=%s/work=idle/runtimes=%d", name, runtimes), func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					must[*skills.Work](b)(stores.Heartbeat(b.Context(), fmt.Sprint("idle-", i%runtimes)))
				}
			})
			b.Run(fmt.Sprintf("backend=%s/work=ping/runtimes=%d", name, runtimes), func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					runtime := fmt.Sprint("busy-", i%runtimes)
					if _, err := stores.Pings.Create(b.Context(), runtime, skills.Ping{}); err != nil {
						b.Fatal(err)
					}
					if work := must[*skills.Work](b)(stores.Heartbeat(b.Context(), runtime)); work.Ping == nil {
						b.Fatal("the heartbeat brought no ping")
					}
				}
			})
		}
	}
	original := NewOriginal(c).(interface {
		Heartbeat(context.Context, string) error
	})
	b.Run("backend=original/work=idle/runtimes=1", func(b *testing.B) {
		for b.Loop() {
			if err := original.Heartbeat(b.Context(), "idle"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkGrowth(b *testing.B) {
	sizes := []int{1000, 10_000}
	if *full {
		sizes = append(sizes, 100_000, 1_000_000)
	}
	for _, live := range sizes {
		for _, mailboxes := range []int{1, live / 10} {
			b.Run(fmt.Sprintf("backend=memory/live=%d/mailboxes=%d", live, mailboxes), func(b *testing.B) {
				s := must[Stack](b)(NewMemory("msgpack"))
				if err := Fill(b.Context(), s, live, mailboxes); err != nil {
					b.Fatal(err)
				}
				lifecycles(b, s, 8, nil)
			})
			b.Run(fmt.Sprintf("backend=redis/live=%d/mailboxes=%d", live, mailboxes), func(b *testing.B) {
				addr := server(b)
				c := client(b, addr, 64)
				s := must[Stack](b)(NewRedis(c, "msgpack", goredis.AutoPipelineNever))
				before := must[float64](b)(Memory(b.Context(), c))
				if err := Fill(b.Context(), s, live, mailboxes); err != nil {
					b.Fatal(err)
				}
				after := must[float64](b)(Memory(b.Context(), c))
				lifecycles(b, s, 8, c)
				b.ReportMetric((after-before)/float64(live), "bytes/pending")
			})
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	addr := server(b)
	c := client(b, addr, 16)
	stacks := map[string]Stack{"original": NewOriginal(c), "redis": must[Stack](b)(NewRedis(c, "msgpack", goredis.AutoPipelineNever))}
	sizes := []int{200, 25_000, 250_000}
	if *full {
		sizes = append(sizes, 8_000_000)
	}
	for _, size := range sizes {
		for name, s := range stacks {
			b.Run(fmt.Sprintf("backend=%s/bytes=%d", name, size), func(b *testing.B) {
				lifecycles(b, Answering(s, size), 16, c)
			})
		}
	}
}

func BenchmarkPickup(b *testing.B) {
	addr := server(b)
	b.ResetTimer()
	l := must[Latencies](b)(Pickup(b.Context(), client(b, addr, 16), b.N))
	b.ReportMetric(float64(l.PickupP99.Microseconds()), "pickup-p99-µs")
	b.ReportMetric(float64(l.AnswerP99.Microseconds()), "answer-p99-µs")
}

func BenchmarkWaiters(b *testing.B) {
	counts := []int{100}
	if *full {
		counts = append(counts, 10_000)
	}
	for _, n := range counts {
		b.Run(fmt.Sprintf("backend=redis/waiters=%d", n), func(b *testing.B) {
			addr := server(b)
			c := client(b, addr, 64)
			for b.Loop() {
				perWaiter := must[float64](b)(ParkedMemory(b.Context(), c, n))
				b.ReportMetric(perWaiter, "bytes/waiter")
			}
		})
	}
}
