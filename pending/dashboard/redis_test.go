package dashboard_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/pending/dashboard"
)

// commands is a hook that counts the commands of a client by name. Commands with which a new
// connection introduces itself are not counted: go-redis opens connections whenever it needs one.
type commands struct {
	mu    sync.Mutex
	names map[string]int
	keys  int // the most keys that one SCAN returned
}

func (c *commands) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *commands) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		c.note(cmd)
		return err
	}
}

func (c *commands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		c.note(cmds...)
		return err
	}
}

func (c *commands) note(cmds ...redis.Cmder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cmd := range cmds {
		if name := cmd.Name(); name != "hello" && name != "client" {
			c.names[name]++
		}
		if scan, ok := cmd.(*redis.ScanCmd); ok {
			keys, _ := scan.Val()
			c.keys = max(c.keys, len(keys))
		}
	}
}

// fill creates a request in each of many mailboxes.
func fill(t testing.TB, b backends.Backend, mailboxes int) {
	var work sync.WaitGroup
	const callers = 32
	for caller := range callers {
		work.Go(func() {
			for i := caller; i < mailboxes; i += callers {
				mailbox := fmt.Sprintf("device-%06d", i)
				if _, err := b.Create(context.Background(), hourLong(mailbox)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
}

// hourLong is a new request whose timeouts are an hour.
func hourLong(mailbox string) backends.Create {
	return backends.Create{ID: backends.NewID(mailbox), Mailbox: mailbox,
		Codec: "json", Payload: []byte("{}"),
		Terms: backends.Terms{Store: "jobs", PendingTimeout: time.Hour,
			RunningTimeout: time.Hour, Retention: time.Hour, MaxAttempts: 1}}
}

func overRedis(t testing.TB) (*redis.Client, backends.Backend, *dashboard.Dashboard) {
	client := redistest.Start(t).Client(t)
	b, err := goredis.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	stores := []dashboard.Store{{Policy: policy("jobs")}}
	d, err := dashboard.New(b, dashboard.Config{Stores: stores})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Drain)
	return client, b, d
}

// A page sends a bounded number of commands for each mailbox that it shows, and a bounded number of
// SCANs. With more mailboxes or requests, no command reads more.
func TestTheOverviewOverRedisIsBounded(t *testing.T) {
	client, b, d := overRedis(t)
	fill(t, b, 4000)
	for range 500 { // one mailbox is crowded
		if _, err := b.Create(t.Context(), hourLong("device-000000")); err != nil {
			t.Fatal(err)
		}
	}
	seen := &commands{names: map[string]int{}}
	client.AddHook(seen)
	for _, path := range []string{"/", page("mailbox", "store", "jobs", "name", "device-000000"),
		page("search", "q", "device-000000")} {
		clear(seen.names)
		answer := httptest.NewRecorder()
		d.ServeHTTP(answer, httptest.NewRequest("GET", path, nil))
		text := answer.Body.String()
		rows := strings.Count(text, "data-key=")
		if answer.Code != 200 || rows < 1 || rows > 25+seen.keys {
			t.Errorf("%s: %d with %d rows", path, answer.Code, rows)
		}
		total := 0
		for name, times := range seen.names {
			total += times
			if name != "scan" && name != "evalsha" && name != "eval" {
				t.Errorf("%s sends %s", path, name)
			}
		}
		if total > 80+2*rows {
			t.Errorf("%s sends %d commands: %v", path, total, seen.names)
		}
	}
	if seen.keys > 300 {
		t.Errorf("a SCAN returned %d keys", seen.keys)
	}
}

func TestAnEditedLinkToAPageIsNotFound(t *testing.T) {
	_, _, d := overRedis(t)
	answer := httptest.NewRecorder()
	path := page("mailbox", "store", "jobs", "name", "device-1", "after", "garbage")
	d.ServeHTTP(answer, httptest.NewRequest("GET", path, nil))
	if answer.Code != 404 {
		t.Errorf("%d, want 404", answer.Code)
	}
}

// BenchmarkOverviewOverRedis times the overview, and reports how long its commands block the
// server. It takes the longest duration of all commands, and the longest of the best durations of
// equal commands. On a busy machine the server mostly waits for a processor in the first one.
func BenchmarkOverviewOverRedis(b *testing.B) {
	for _, mailboxes := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("mailboxes=%d", mailboxes), func(b *testing.B) {
			client, backend, d := overRedis(b)
			fill(b, backend, mailboxes)
			client.ConfigSet(b.Context(), "slowlog-max-len", "100000")
			client.ConfigSet(b.Context(), "slowlog-log-slower-than", "0")
			client.SlowLogReset(b.Context())
			fastest := time.Hour
			for b.Loop() {
				start := time.Now()
				d.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
				fastest = min(fastest, time.Since(start))
			}
			entries, err := client.SlowLogGet(b.Context(), -1).Result()
			if err != nil || len(entries) == 0 {
				b.Fatal(entries, err)
			}
			longest, atBest, which := blocking(entries)
			b.ReportMetric(float64(longest.Microseconds()), "longest-µs")
			b.ReportMetric(float64(atBest.Microseconds()), "longest-at-best-µs")
			b.ReportMetric(float64(fastest.Microseconds()), "fastest-µs")
			b.Logf("the longest at its best is %.60q", which)
		})
	}
}

// blocking returns the longest duration of all commands. It also takes the shortest duration of
// equal commands, and returns the longest of those with its command.
func blocking(entries []redis.SlowLog) (longest, atBest time.Duration, which string) {
	best := map[string]time.Duration{}
	for _, entry := range entries {
		name := strings.ToLower(entry.Args[0])
		if name != "scan" && name != "evalsha" && name != "eval" {
			continue // not a command of a page
		}
		command := strings.Join(entry.Args, " ")
		if known, found := best[command]; !found || entry.Duration < known {
			best[command] = entry.Duration
		}
		longest = max(longest, entry.Duration)
	}
	for command, duration := range best {
		if duration >= atBest {
			atBest, which = duration, command
		}
	}
	return longest, atBest, which
}
