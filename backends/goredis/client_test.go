package goredis_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

// wrapper is a user's wrapper of a client.
type wrapper struct{ redis.UniversalClient }

// pointers is a wrapper that embeds a pointer, not the interface.
type pointers struct{ *redis.Client }

// clusterPointers is the same for a ClusterClient.
type clusterPointers struct{ *redis.ClusterClient }

func TestClientsThatCannotWorkAreRefused(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	t.Cleanup(func() { ring.Close() })
	for name, tc := range map[string]struct {
		client redis.UniversalClient
		says   string
	}{
		"nil":                              {nil, "nil"},
		"a nil Client":                     {(*redis.Client)(nil), "nil"},
		"a nil ClusterClient":              {(*redis.ClusterClient)(nil), "nil"},
		"a nil Ring":                       {(*redis.Ring)(nil), "Ring"},
		"a nil AutoPipeliner":              {(*redis.AutoPipeliner)(nil), "nil"},
		"a nil wrapper":                    {(*wrapper)(nil), "nil"},
		"a wrapper of a nil ClusterClient": {clusterPointers{}, "nil"},
		"a zero Client":                    {&redis.Client{}, "constructor"},
		"a zero ClusterClient":             {&redis.ClusterClient{}, "constructor"},
		"a zero AutoPipeliner":             {&redis.AutoPipeliner{}, "constructor"},
		"a wrapper of nothing":             {wrapper{}, "nil"},
		"a wrapper of a nil Client":        {pointers{}, "nil"},
		"a Ring":                           {ring, "shards"},
		"a wrapper of a Ring":              {wrapper{ring}, "Ring"},
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

// A type that embeds a ClusterClient is one: it finds the mailboxes of all masters, its waiters
// hear of changes by a ClusterClient, and Diagnose looks at each master.
func TestATypeThatEmbedsAClusterClientIsOne(t *testing.T) {
	parallelOnCluster(t)
	c := redistest.StartPatientCluster(t)
	plain := newRig(t, c.Client(t))
	embedding := newBackend(t, clusterPointers{c.Client(t)}, &goredis.Options{Prefix: plain.prefix})
	var want []string
	for master := range c.Masters {
		want = append(want, mailboxesOf(master, 50)...)
	}
	woken, stop := embedding.WatchMailbox(t.Context(), want[0])
	defer stop()
	for _, mailbox := range want {
		plain.create(lasting("s"), mailbox)
	}
	select {
	case <-woken:
	case <-time.After(time.Minute):
		t.Error("no signal came")
	}
	var got []string
	for after, more := "", true; more; more = after != "" {
		page, err := embedding.Mailboxes(t.Context(), "s", after, 100)
		if err != nil {
			t.Fatal(err)
		}
		got, after = append(got, page.Mailboxes...), page.Next
	}
	slices.Sort(got)
	slices.Sort(want)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("listed %d mailboxes, want %d", len(got), len(want))
	}
	servers := map[string]bool{}
	for _, f := range diagnose(t, clusterPointers{c.Client(t)}) {
		servers[f.Server] = true
	}
	for _, master := range c.Masters {
		if !servers[master.Addr] {
			t.Errorf("Diagnose found nothing about %s, want its missing memory limit", master.Addr)
		}
	}
}

func TestDiagnoseReportsAClientThatHidesACluster(t *testing.T) {
	parallelOnCluster(t)
	c := redistest.StartPatientCluster(t)
	gathering, err := c.Client(t).AutoPipeline()
	if err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]redis.UniversalClient{
		"a wrapper": &wrapper{c.Client(t)}, "an AutoPipeliner": gathering,
		"a client of one node": c.Masters[0].Client(t),
	} {
		problems := subjects(diagnose(t, client), backends.SeverityProblem)
		if !slices.Contains(problems, "client") {
			t.Errorf("%s: got the problems %v, want one about the client", name, problems)
		}
	}
	for _, client := range []redis.UniversalClient{c.Client(t), clusterPointers{c.Client(t)}} {
		problems := subjects(diagnose(t, client), backends.SeverityProblem)
		if slices.Contains(problems, "client") {
			t.Errorf("%T: got a problem about the client", client)
		}
	}
}
