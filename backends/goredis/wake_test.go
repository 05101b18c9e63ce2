package goredis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/pending"
)

// newJobs makes a store. The test's clean-up closes its backend.
func newJobs(
	t *testing.T, client redis.UniversalClient, opts *goredis.Options,
) *pending.PendingStore[string] {
	t.Helper()
	b := newBackend(t, client, opts)
	s, err := pending.New(b, codec.JSON[string](), pending.Policy{
		Name: "jobs", PendingTimeout: time.Hour, RunningTimeout: time.Hour, Retention: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// patient is a poll interval that is longer than any test. So only a signal ends a wait.
const patient = time.Hour

// eventually polls a condition for up to a minute.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	if !calls.Await(time.Minute, 5*time.Millisecond, condition) {
		t.Fatalf("gave up waiting until %s", what)
	}
}

// subscribers returns the numbers of connections with subscriptions, and of channels.
func subscribers(t *testing.T, client *redis.Client) (connections, channels int) {
	t.Helper()
	list, err := client.Do(t.Context(), "client", "list", "type", "pubsub").Text()
	if err != nil {
		t.Fatal(err)
	}
	names, err := client.PubSubChannels(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(list, "id="), len(names)
}

// held returns a claim for ending a request that no worker has claimed.
func held(t *testing.T, s *pending.PendingStore[string], made *pending.Request[string]) (
	claim *pending.Claim[string]) {
	t.Helper()
	claim, err := s.Held(t.Context(), made.ID, made.Attempt)
	if err != nil {
		t.Fatal(err)
	}
	return claim
}

func TestAThousandWaitersShareOneSubscription(t *testing.T) {
	client := redistest.Start(t).Client(t)
	s := newJobs(t, client, &goredis.Options{PollInterval: patient})
	const n = 1000
	var waiting sync.WaitGroup
	for i := range n {
		waiting.Go(func() {
			if _, err := s.AwaitPending(t.Context(), fmt.Sprint("box-", i)); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "all channels are subscribed to", func() bool {
		_, channels := subscribers(t, client)
		return channels > n*9/10 // some mailboxes share a partition
	})
	if connections, _ := subscribers(t, client); connections != 1 {
		t.Errorf("%d waiters have %d connections, want 1", n, connections)
	}
	for i := range n {
		if _, err := s.Create(t.Context(), fmt.Sprint("box-", i), ""); err != nil {
			t.Fatal(err)
		}
	}
	waiting.Wait()
}

func TestALostSubscriptionIsRenewedAndAllWaitersPoll(t *testing.T) {
	client := redistest.Start(t).Client(t)
	s := newJobs(t, client, &goredis.Options{PollInterval: patient})
	for round := range 5 {
		made, err := s.Create(t.Context(), "box", "")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := s.Await(t.Context(), made.ID)
			ended <- err
		}()
		eventually(t, "the waiter is subscribed", func() bool {
			connections, _ := subscribers(t, client)
			return connections == 1
		})
		claim := held(t, s, made)
		if err := client.ClientKillByFilter(t.Context(), "type", "pubsub").Err(); err != nil {
			t.Fatal(err)
		}
		if err := s.Complete(t.Context(), claim); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("round %d: the waiter missed an end without its subscription", round)
		}
	}
}

func TestWithoutSubscriptionsWaitersPoll(t *testing.T) {
	server := redistest.Start(t)
	allow(t, server.Client(t), "mute", "+@all", "-subscribe", "-publish")
	s := newJobs(t, userClient(t, server, "mute"),
		&goredis.Options{PollInterval: 20 * time.Millisecond})
	claimed := make(chan error, 1)
	go func() {
		_, err := s.AwaitPending(t.Context(), "box")
		claimed <- err
	}()
	if _, err := s.Create(t.Context(), "box", ""); err != nil {
		t.Fatalf("Create by a user who may not publish: %v", err)
	}
	if err := <-claimed; err != nil {
		t.Fatal(err)
	}
}

func TestAnUnusedSubscriptionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, client := redistest.Mini(t)
		s := newJobs(t, client, &goredis.Options{PollInterval: patient})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _ = s.AwaitPending(ctx, "box")
		if got := len(m.PubSubChannels("")); got != 1 {
			t.Fatalf("%d channels just after a wait, want 1 for the next waiter", got)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if got := len(m.PubSubChannels("")); got != 0 {
			t.Errorf("%d channels a minute later, want none", got)
		}
	})
}

func TestAnIdleConnectionStaysAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client := redistest.Mini(t)
		s := newJobs(t, client, &goredis.Options{PollInterval: patient})
		made, err := s.Create(t.Context(), "box", "")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := s.Await(t.Context(), made.ID)
			ended <- err
		}()
		<-time.After(time.Minute) // many pings, all with replies
		if err := s.Complete(t.Context(), held(t, s, made)); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	})
}

func TestAClosedClientIsNoticedAtOnce(t *testing.T) {
	server := redistest.Start(t)
	checkClosing(t, server.Client(t), func(n int) {
		eventually(t, "the waiters are subscribed", func() bool {
			_, channels := subscribers(t, server.Client(t))
			return channels > n*9/10 // some mailboxes share a partition
		})
	})
}

func TestClusterClientThatIsClosedIsNoticedAtOnce(t *testing.T) {
	c := redistest.StartPatientCluster(t)
	checkClosing(t, c.Client(t), func(n int) {
		eventually(t, "the waiters are subscribed", func() bool {
			channels := 0
			for _, master := range c.Masters {
				channels += len(master.Client(t).PubSubShardChannels(t.Context(), "*").Val())
			}
			return channels > n*9/10 // some mailboxes share a partition
		})
	})
}

// checkClosing closes a client while waiters wait. Each waiter must get the client's error without
// polling, at the latest from its next call. Subscribed waits until the waiters are subscribed to n
// channels.
func checkClosing(t *testing.T, client redis.UniversalClient, subscribed func(n int)) {
	s := newJobs(t, client, &goredis.Options{PollInterval: patient})
	made, err := s.Create(t.Context(), "asked", "")
	if err != nil {
		t.Fatal(err)
	}
	in, err := pending.NewInbox(s)
	if err != nil {
		t.Fatal(err)
	}
	const n = 30
	ended := make(chan error, 3*n)
	var closing atomic.Bool
	wait := func(call func() error) {
		err := call()
		if closing.Load() && err != nil && !errors.Is(err, redis.ErrClosed) {
			err = call() // a command in flight may fail with another error of its connection
		}
		ended <- err
	}
	for i := range n {
		box := fmt.Sprint("box-", i)
		go wait(func() error { _, err := s.Await(t.Context(), made.ID); return err })
		go wait(func() error { _, err := s.AwaitPending(t.Context(), box); return err })
		go wait(func() error { _, err := in.Await(t.Context(), box); return err })
	}
	subscribed(n)
	closing.Store(true)
	client.Close()
	timeUp := time.After(time.Minute)
	for range 3 * n {
		select {
		case err := <-ended:
			if !errors.Is(err, redis.ErrClosed) {
				t.Fatalf("got %v, want redis.ErrClosed", err)
			}
		case <-timeUp:
			t.Fatal("a waiter did not return after the client was closed")
		}
	}
}

func TestAClosedBackendStillWorks(t *testing.T) {
	_, client := redistest.Mini(t)
	b := newBackend(t, client, &goredis.Options{PollInterval: 10 * time.Millisecond})
	signal, stop := b.WatchMailbox(t.Context(), "box")
	stop()
	for range 2 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	_, stop = b.WatchRequest(t.Context(), backends.NewID("box"))
	stop()
	if len(signal) != 0 {
		t.Error("a signal came although nothing happened")
	}
}

// lostCluster returns a client that cannot find the nodes of its Cluster, and counts its attempts.
func lostCluster(t *testing.T) (client *redis.ClusterClient, looks *atomic.Int64) {
	looks = &atomic.Int64{}
	client = redis.NewClusterClient(&redis.ClusterOptions{
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
			looks.Add(1)
			return nil, errRefused
		}})
	t.Cleanup(func() { client.Close() })
	return client, looks
}

func TestWithoutWaitersNobodyLooksForANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, looks := lostCluster(t)
		b := newBackend(t, client, nil)
		_, stop := b.WatchMailbox(t.Context(), box)
		stop()
		calls.Pass(time.Minute)
		before := looks.Load()
		calls.Pass(time.Hour)
		if n := looks.Load(); n != before || n == 0 {
			t.Errorf("the client looked %d times, then %d more times", before, n-before)
		}
	})
}

// deadNode is the address of a node that accepts no connection.
const deadNode = "dead:1"

// clusterThatLosesHalf returns a client of a Cluster with one node. Once moved is true, the first
// half of the slots is at deadNode.
func clusterThatLosesHalf(
	t *testing.T, server *redistest.Server, moved *atomic.Bool) *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{DialTimeout: time.Hour,
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
			first := server.Addr
			if moved.Load() {
				first = deadNode
			}
			const half = redistest.Slots / 2
			return []redis.ClusterSlot{
				{End: half - 1, Nodes: []redis.ClusterNode{{Addr: first}}},
				{Start: half, End: 2*half - 1, Nodes: []redis.ClusterNode{{Addr: server.Addr}}},
			}, nil
		},
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == deadNode {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}})
	t.Cleanup(func() { client.Close() })
	return client
}

// Slots move to a node that accepts no connection. Waiters of other slots get their wake-ups all
// the same.
func TestClusterWaitersOfAHealthyNodeDoNotWaitForAnother(t *testing.T) {
	server := redistest.Start(t)
	var moved atomic.Bool
	client := clusterThatLosesHalf(t, server, &moved)
	b, admin := newBackend(t, client, nil), server.Client(t)
	healthy := mailboxesOf(2, 1)
	for _, mailbox := range append(mailboxesOf(0, 9), healthy...) {
		_, stop := b.WatchMailbox(t.Context(), mailbox)
		defer stop()
	}
	subscribed := func() []string { return admin.PubSubShardChannels(t.Context(), "*").Val() }
	eventually(t, "all channels are subscribed", func() bool { return len(subscribed()) == 10 })
	moved.Store(true)
	client.ReloadState(t.Context())
	eventually(t, "the client knows that slots have moved", func() bool {
		partition := backends.Partition(mailboxesOf(0, 1)[0])
		node, err := client.MasterForKey(t.Context(), "{"+partition+"}")
		return err == nil && node.Options().Addr == deadNode
	})
	if err := admin.ClientKillByFilter(t.Context(), "type", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the channel of the healthy node is subscribed again", func() bool {
		channels := subscribed()
		return len(channels) == 1 && strings.Contains(channels[0], backends.Partition(healthy[0]))
	})
}

func TestErrorsNameInvalidOptions(t *testing.T) {
	_, client := redistest.Mini(t)
	for name, tc := range map[string]struct {
		opts goredis.Options
		want string
	}{
		"a short poll":    {goredis.Options{PollInterval: time.Millisecond}, "PollInterval"},
		"an unknown mode": {goredis.Options{AutoPipeline: 7}, "AutoPipeline"},
	} {
		_, err := goredis.New(client, &tc.opts)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want an error with %s", name, err, tc.want)
		}
	}
}
