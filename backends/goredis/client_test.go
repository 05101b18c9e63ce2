package goredis_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

// wrapper is a user's wrapper of a client.
type wrapper struct{ redis.UniversalClient }

// pointers is a wrapper that embeds a pointer, not the interface.
type pointers struct{ *redis.Client }

func TestClientsThatCannotWorkAreRefused(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	t.Cleanup(func() { ring.Close() })
	for name, tc := range map[string]struct {
		client redis.UniversalClient
		says   string
	}{
		"nil":                       {nil, "nil"},
		"a nil Client":              {(*redis.Client)(nil), "nil"},
		"a nil ClusterClient":       {(*redis.ClusterClient)(nil), "nil"},
		"a nil Ring":                {(*redis.Ring)(nil), "Ring"},
		"a nil AutoPipeliner":       {(*redis.AutoPipeliner)(nil), "nil"},
		"a nil wrapper":             {(*wrapper)(nil), "nil"},
		"a zero Client":             {&redis.Client{}, "constructor"},
		"a zero ClusterClient":      {&redis.ClusterClient{}, "constructor"},
		"a zero AutoPipeliner":      {&redis.AutoPipeliner{}, "constructor"},
		"a wrapper of nothing":      {wrapper{}, "nil"},
		"a wrapper of a nil Client": {pointers{}, "nil"},
		"a Ring":                    {ring, "shards"},
		"a wrapper of a Ring":       {wrapper{ring}, "Ring"},
	} {
		b, err := goredis.New(tc.client, nil)
		if b != nil || err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: New returned %v, want an error with %q", name, err, tc.says)
		}
		if _, err := goredis.Diagnose(t.Context(), tc.client, nil); err == nil {
			t.Errorf("%s: Diagnose accepted it", name)
		}
	}
}

func TestAClientIsCheckedWithoutAConnection(t *testing.T) {
	away := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { away.Close() })
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	t.Cleanup(func() { cluster.Close() })
	clients := []redis.UniversalClient{away, cluster, wrapper{away}, &wrapper{cluster}}
	for _, client := range clients {
		if _, err := goredis.New(client, nil); err != nil {
			t.Errorf("%T: %v", client, err)
		}
	}
	if stats := away.PoolStats(); stats.TotalConns+stats.Misses != 0 {
		t.Errorf("New used a connection: %+v", stats)
	}
}

func TestWrappersOfAClientWork(t *testing.T) {
	_, client := redistest.Mini(t)
	blocking, err := client.AutoPipeline()
	if err != nil {
		t.Fatal(err)
	}
	async, err := client.AsyncAutoPipeline()
	if err != nil {
		t.Fatal(err)
	}
	for name, wrapped := range map[string]redis.UniversalClient{
		"by value": wrapper{client}, "by pointer": &wrapper{client}, "embedded": pointers{client},
		"an AutoPipeliner": blocking, "an asynchronous AutoPipeliner": async,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, wrapped)
			r.lifecycle(lasting("s"), box)
			r.large = true
			r.lifecycle(lasting("s"), box)
			checkWoken(t, wrapped)
		})
	}
}
