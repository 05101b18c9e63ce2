package bench

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/redistest"
)

// full also runs the largest sizes, which take minutes.
var full = flag.Bool("full", false, "also the largest sizes, such as a million live requests")

// sizes returns the largest sizes only with -full.
func sizes(largest []int, usual ...int) []int {
	if *full {
		return slices.Concat(usual, largest)
	}
	return usual
}

func BenchmarkCodec(b *testing.B) {
	for _, p := range Payloads() {
		for _, codecName := range slices.Concat(CodecNames, WrappedNames) {
			for _, op := range []string{"marshal", "unmarshal"} {
				name := fmt.Sprintf("payload=%s/codec=%s/op=%s", p.Name, codecName, op)
				b.Run(name, func(b *testing.B) {
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
	s := must[*Server](b)(StartServer(b.Context()))
	b.Cleanup(s.Stop)
	return s.Addr
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

// measure runs an operation and reports what Run found.
func measure(b *testing.B, do Do, callers int, admin redis.UniversalClient) {
	b.ReportAllocs()
	b.ResetTimer()
	r := must[Result](b)(Run(b.Context(), do, callers, b.N, admin))
	b.StopTimer()
	b.ReportMetric(r.PerSecond(), "op/s")
	b.ReportMetric(micros(r.P50), "p50-µs")
	b.ReportMetric(micros(r.P99), "p99-µs")
	if admin != nil {
		b.ReportMetric(micros(r.ServerCPU), "server-cpu-µs/op")
	}
}

func BenchmarkLifecycle(b *testing.B) {
	addr := server(b)
	admin := client(b, addr, 1)
	for _, callers := range Callers {
		b.Run(fmt.Sprintf("over=memory/side=original/callers=%d", callers), func(b *testing.B) {
			measure(b, NewOriginalMemory().Lifecycle, callers, nil)
		})
		b.Run(fmt.Sprintf("over=memory/side=pendingq/callers=%d", callers), func(b *testing.B) {
			measure(b, must[Stack](b)(NewMemory()).Lifecycle, callers, nil)
		})
		for _, side := range LifecycleSides {
			b.Run(fmt.Sprintf("over=redis/side=%s/callers=%d", side, callers), func(b *testing.B) {
				stack := must[Stack](b)(NewSide(client(b, addr, callers), side))
				measure(b, stack.Lifecycle, callers, admin)
			})
		}
	}
}

func BenchmarkNetwork(b *testing.B) {
	proxied, stop, err := StartProxy(server(b), time.Millisecond)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	for _, callers := range NetworkCallers {
		for _, side := range NetworkSides {
			name := fmt.Sprintf("over=network/side=%s/callers=%d", side, callers)
			b.Run(name, func(b *testing.B) {
				stack := must[Stack](b)(NewSide(client(b, proxied, callers), side))
				measure(b, stack.Lifecycle, callers, nil)
			})
		}
	}
}

// BenchmarkElsewhere measures lifecycles on miniredis and on a Cluster of three masters that share
// a machine.
func BenchmarkElsewhere(b *testing.B) {
	_, mini := redistest.Mini(b)
	cluster := redistest.StartCluster(b).ClientWith(b, redis.ClusterOptions{PoolSize: 512})
	for _, callers := range Callers {
		b.Run(fmt.Sprintf("over=miniredis/side=pendingq/callers=%d", callers), func(b *testing.B) {
			measure(b, must[Stack](b)(NewRedis(mini, nil)).Lifecycle, callers, nil)
		})
		b.Run(fmt.Sprintf("over=cluster/side=pendingq/callers=%d", callers), func(b *testing.B) {
			measure(b, must[Stack](b)(NewRedis(cluster, nil)).Lifecycle, callers, nil)
		})
	}
}

func BenchmarkHeartbeat(b *testing.B) {
	const callers = 16
	c := client(b, server(b), callers)
	for _, side := range []struct {
		over, name string
		beats      Beats
		admin      redis.UniversalClient
	}{
		{"memory", "pendingq", must[Beats](b)(LibraryBeats(memory.New())), nil},
		{"redis", "original", OriginalBeats(c), c},
		{"redis", "pendingq", must[Beats](b)(RedisBeats(c)), c},
	} {
		for _, runtimes := range sizes([]int{10_000}, 1000) {
			name := fmt.Sprintf("over=%s/side=%s/runtimes=%d", side.over, side.name, runtimes)
			b.Run(name+"/work=idle", func(b *testing.B) {
				measure(b, among("idle-", runtimes, side.beats.Idle), callers, side.admin)
			})
			b.Run(name+"/work=ping", func(b *testing.B) {
				measure(b, among("busy-", runtimes, side.beats.Busy), callers, side.admin)
			})
		}
	}
}

// BenchmarkCrowd measures one caller in a mailbox with so many running requests.
func BenchmarkCrowd(b *testing.B) {
	c := client(b, server(b), 1)
	store, err := crowdStore(c)
	if err != nil {
		b.Fatal(err)
	}
	for _, running := range sizes([]int{Crowded}, 0, 1000) {
		mailbox := fmt.Sprint("running-", running)
		if err := fillRunning(b.Context(), store, mailbox, running); err != nil {
			b.Fatal(err)
		}
		do := steps(store, func(int) string { return mailbox })
		b.Run(fmt.Sprintf("running=%d/work=idle-poll", running), func(b *testing.B) {
			measure(b, do[3], 1, c)
		})
		b.Run(fmt.Sprintf("running=%d/work=create-claim-complete", running), func(b *testing.B) {
			measure(b, func(ctx context.Context, mailbox string) error {
				for _, step := range do[:3] {
					if err := step(ctx, mailbox); err != nil {
						return err
					}
				}
				return nil
			}, 1, c)
		})
	}
}

func BenchmarkGrowth(b *testing.B) {
	for _, live := range sizes([]int{100_000, 1_000_000}, 1000, 10_000) {
		for _, mailboxes := range []int{1, live / 10} {
			name := fmt.Sprintf("live=%d/mailboxes=%d", live, mailboxes)
			b.Run("over=memory/"+name, func(b *testing.B) {
				s := must[Stack](b)(NewMemory())
				used := must[float64](b)(FillMemory(b.Context(), s, live, mailboxes))
				measure(b, s.Lifecycle, 8, nil)
				b.ReportMetric(used, "bytes/pending")
			})
			b.Run("over=redis/"+name, func(b *testing.B) {
				world := &Suite{Addr: server(b)}
				used := must[float64](b)(
					world.FillRedis(b.Context(), "pendingq", live, mailboxes))
				c := client(b, world.Addr, 8)
				measure(b, must[Stack](b)(NewRedis(c, nil)).Lifecycle, 8, c)
				b.ReportMetric(used, "bytes/pending")
			})
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	addr := server(b)
	for _, size := range sizes([]int{8_000_000}, 200, 25_000, 250_000) {
		for _, side := range AnswerSides {
			b.Run(fmt.Sprintf("side=%s/bytes=%d", side, size), func(b *testing.B) {
				c := client(b, addr, sweepCallers)
				stack := must[Stack](b)(NewSide(c, side))
				measure(b, Answering(stack, size).Lifecycle, sweepCallers, c)
			})
		}
	}
}

func BenchmarkPickup(b *testing.B) {
	redis := must[*goredis.Backend](b)(goredis.New(client(b, server(b), 16),
		&goredis.Options{PollInterval: time.Hour}))
	b.Cleanup(func() { redis.Close() })
	for name, backend := range map[string]backends.Backend{"redis": redis,
		"http": overHTTP(b, memory.New())} {
		b.Run("over="+name, func(b *testing.B) {
			l := must[Latencies](b)(Pickup(b.Context(), backend, b.N))
			b.ReportMetric(micros(l.PickupP99), "pickup-p99-µs")
			b.ReportMetric(micros(l.AnswerP99), "answer-p99-µs")
		})
	}
}

func overHTTP(b *testing.B, backend backends.Backend) backends.Backend {
	client, stop, err := ServeHTTP(backend)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	return client
}

// BenchmarkOverHTTP measures one caller of the memory backend, directly and over HTTP.
func BenchmarkOverHTTP(b *testing.B) {
	direct := memory.New()
	for over, backend := range map[string]backends.Backend{"nothing": direct,
		"http": overHTTP(b, direct)} {
		b.Run("over="+over+"/work=lifecycle", func(b *testing.B) {
			measure(b, must[Stack](b)(NewLibrary(backend)).Lifecycle, 1, nil)
		})
		b.Run("over="+over+"/work=idle-heartbeat", func(b *testing.B) {
			measure(b, must[Beats](b)(LibraryBeats(backend)).Idle, 1, nil)
		})
	}
}

func BenchmarkWaiters(b *testing.B) {
	for _, n := range sizes([]int{10_000}, 100) {
		b.Run(fmt.Sprintf("waiters=%d", n), func(b *testing.B) {
			c := client(b, server(b), 64)
			for b.Loop() {
				b.ReportMetric(must[float64](b)(ParkedMemory(b.Context(), c, n)), "bytes/waiter")
			}
		})
	}
}
