package histories_test

import (
	"flag"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/effort"
	"github.com/pendingq/pendingq/internal/history"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/proof/cutproxy"
)

var (
	operations = flag.Int("ops", 0, "`number` of calls on Redis and in memory; "+
		"a 40th on miniredis, a tenth on a Redis that is killed, a fifth on a Cluster; "+
		"0: 10,000, or 25,000 in full with the race detector")
	faults = flag.Int("faults", 60, "`number` of faults on Redis; "+
		"a tenth on miniredis, a 20th on a Redis that is killed, a fifth on a Cluster")
	failOvers = flag.Int("failovers", 2, "`number` of fail-overs of the Cluster; "+
		"the first is graceful, others kill the master")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHistories(t *testing.T) {
	if *operations == 0 {
		*operations = effort.Racing(10_000, 25_000)
	}
	t.Run("memory", func(t *testing.T) {
		opts := &backendtest.HistoriesOptions{Operations: *operations}
		backendtest.Histories(t, func(*testing.T) backends.Backend { return memory.New() }, opts)
	})
	t.Run("miniredis", onMiniredis)
	t.Run("redis", onRedis)
	t.Run("killed redis", onKilledRedis)
	t.Run("cluster", onCluster)
}

// onMiniredis uses long times: miniredis on the real clock removes keys up to about 100 ms early.
func onMiniredis(t *testing.T) {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	behindProxy(t, m.Addr(), &backendtest.HistoriesOptions{
		Operations: *operations / 40,
		Faults:     *faults / 10,
		Pace:       100 * time.Millisecond,
	})
}

func onRedis(t *testing.T) {
	behindProxy(t, redistest.Start(t).Addr, &backendtest.HistoriesOptions{
		Operations: *operations,
		Faults:     *faults,
		Pace:       time.Millisecond,
	})
}

// onKilledRedis uses a server that writes to its disk before it replies.
func onKilledRedis(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	behindProxy(t, server.Addr, &backendtest.HistoriesOptions{
		Operations: *operations / 10,
		Faults:     *faults / 20,
		Pace:       10 * time.Millisecond,
		Disturb:    func(int) { server.Restart() }, // kills the server first
	})
}

// behindProxy makes histories on a server behind a proxy. The proxy makes the faults, unless
// opts.Disturb is set. Most of its faults are lost replies.
func behindProxy(t *testing.T, addr string, opts *backendtest.HistoriesOptions) {
	proxy := cutproxy.New()
	t.Cleanup(proxy.Close)
	client := redis.NewClient(&redis.Options{Addr: addr, Dialer: proxy.Dial, PoolSize: 64,
		ContextTimeoutEnabled: true, MinRetryBackoff: time.Millisecond,
		MaxRetryBackoff: 4 * time.Millisecond})
	t.Cleanup(func() { client.Close() })
	control := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { control.Close() })
	if opts.Disturb == nil {
		opts.Disturb = func(turn int) { proxy.Disturb(turn, control) }
		defer func() { wantCuts(t, proxy, opts.Faults) }()
	}
	backendtest.Histories(t, func(t *testing.T) backends.Backend { return open(t, client) }, opts)
}

// wantCuts checks that the proxy has lost replies. Of five faults in a row, three lose replies.
func wantCuts(t *testing.T, proxy *cutproxy.Proxy, faults int) {
	t.Helper()
	t.Logf("%d replies were lost", proxy.Cuts())
	if faults >= 5 && proxy.Cuts() == 0 {
		t.Error("no reply was lost, so the history shows too little")
	}
}

func open(t *testing.T, client redis.UniversalClient) backends.Backend {
	b, err := goredis.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// onCluster uses three masters. Some sessions are so slow that they go on after a fail-over.
func onCluster(t *testing.T) {
	cluster := redistest.StartPatientCluster(t)
	proxy := cutproxy.New()
	t.Cleanup(proxy.Close)
	client := cluster.ClientWith(t, redis.ClusterOptions{Dialer: proxy.Dial, PoolSize: 64,
		MinRetryBackoff: time.Millisecond, MaxRetryBackoff: 4 * time.Millisecond})
	s := newShards(t, cluster)
	s.faults = &history.Faults{
		Every:  every(*operations/5, *faults/5),
		Inject: func(turn int) { proxy.Disturb(turn, s.control()...) },
	}
	s.every = every(*operations/5, *failOvers)
	sessions := &history.Sessions{
		Backend:    open(t, client),
		Operations: int64(*operations / 5),
		Pace:       2 * time.Millisecond,
		Faults:     s.faults,
		Shards:     s,
	}
	sessions.Run(t)
	wantCuts(t, proxy, *faults/5)
	t.Log(s.report(sessions.Losses))
}

// every returns how many operations lie between two faults, or 0 without faults.
func every(operations, faults int) int64 {
	if faults == 0 {
		return 0
	}
	return max(1, int64(operations/faults))
}
