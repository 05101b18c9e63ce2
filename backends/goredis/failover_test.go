package goredis_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/redistest"
)

func TestClusterFailsOverUnderLoad(t *testing.T) {
	parallelOnCluster(t)
	c := redistest.StartCluster(t)
	r := newRig(t, c.Client(t))
	l := newLoad(r, slices.Concat(mailboxesOf(0, 4), mailboxesOf(1, 4), mailboxesOf(2, 4)))
	var before []string
	epoch := c.Epoch(t)
	l.during(func() {
		c.Masters[0].Kill()
		killed := time.Now()
		r.untilWritable(mailboxesOf(0, 1)[0])
		before = l.begunIDs()
		t.Logf("writable again after %v", time.Since(killed).Round(time.Millisecond))
	})
	all := l.ids()
	elections := c.Epoch(t) - epoch
	// On a machine that stalls, more than one master may fail over, and each may lose requests.
	if elections == 1 {
		onFailed := func(id string) bool { return masterOf(slotOfID(id)) == 0 }
		l.checkExactlyOnce(slices.DeleteFunc(all, onFailed))
		l.checkExactlyOnce(l.createdSince(before))
	}
	l.checkOncePerMaster(1 + elections)
	t.Logf("%d elections", elections)
	t.Logf("%+v", l.tally())
}

// broken is a hook that loses the replies to one command.
type broken struct {
	passing
	name string
}

func (b *broken) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := next(ctx, cmd); cmd.Name() != b.name {
			return err
		}
		return io.EOF
	}
}

// clusterOf returns a ClusterClient for which a server without Cluster mode has all slots. If looks
// is not nil, it counts how often the client asks for the slots.
func clusterOf(t *testing.T, server *redistest.Server, opts redis.ClusterOptions,
	looks *atomic.Int64) *redis.ClusterClient {
	opts.ClusterSlots = func(context.Context) ([]redis.ClusterSlot, error) {
		if looks != nil {
			looks.Add(1)
		}
		nodes := []redis.ClusterNode{{Addr: server.Addr}}
		return []redis.ClusterSlot{{End: redistest.Slots - 1, Nodes: nodes}}, nil
	}
	client := redis.NewClusterClient(&opts)
	t.Cleanup(func() { client.Close() })
	return client
}

func TestClusterClientLooksForNewMastersAfterALostReply(t *testing.T) {
	server := redistest.Start(t)
	var looks atomic.Int64
	client := clusterOf(t, server, redis.ClusterOptions{ClusterStateReloadInterval: time.Hour},
		&looks)
	r, made := newRig(t, client), large(lasting("s"), box)
	if _, err := r.b.Create(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	hook := &broken{}
	client.AddHook(hook)
	get := func(ctx context.Context, id string) (backends.Record, error) {
		return r.b.Get(ctx, made.Store, id)
	}
	for _, s := range []step{
		{"evalsha", call(r.b.Cancel, gaveUp(made.Terms, made.ID))},
		{"set", call(r.b.Create, made)},
		{"mget", call(get, made.ID)},
	} {
		hook.name = s.name
		before := looks.Load()
		r.until("the client looks after a lost reply to "+s.name, func() bool {
			if err := s.call(t.Context()); !errors.Is(err, io.EOF) {
				t.Errorf("%s: got %v, want EOF", s.name, err)
			}
			return looks.Load() > before
		})
	}
}

func slotOfID(id string) int { return keySlot("{" + backends.PartitionOf(id) + "}") }

// untilWritable waits until requests to a mailbox can be created again.
func (r *rig) untilWritable(mailbox string) {
	r.Helper()
	err := insist(r.Context(), func(ctx context.Context) error {
		_, err := r.b.Create(ctx, question(lasting("probe"), mailbox))
		return err
	})
	if err != nil {
		r.Fatalf("no fail-over: %v", err)
	}
}

// checkOncePerMaster checks the requests after a number of masters, one after the other. Each
// master may hand out a request once, and accept one report.
func (l *load) checkOncePerMaster(masters int) {
	l.Helper()
	for _, id := range l.ids() {
		if l.claimed[id] > masters || l.taken[id] > masters || l.taken[id] > l.claimed[id] {
			l.Errorf("%s was handed out %d times, and %d reports were accepted",
				id, l.claimed[id], l.taken[id])
		}
	}
}

func TestClusterHandsOutAgainTheClaimsThatItsReplicaMissed(t *testing.T) {
	parallelOnCluster(t)
	const requests = 50
	c := redistest.StartPatientCluster(t)
	r := newRig(t, c.Client(t))
	terms, mailbox := lasting("s"), mailboxesOf(0, 1)[0]
	for range requests {
		r.create(terms, mailbox)
	}
	master := r.cutOff(c)

	r.do(master, "config", "set", "min-replicas-to-write", "1")
	_, err := r.b.Claim(t.Context(), heartbeat(mailbox, requests, terms))
	if !redis.HasErrorPrefix(err, "NOREPLICAS") {
		t.Errorf("Claim without the required replica: got %v, want NOREPLICAS", err)
	}
	r.do(master, "config", "set", "min-replicas-to-write", "0")
	first := r.claim(terms, mailbox, requests)
	c.Masters[0].Kill()
	c.Replicas[0].Continue()
	left := c.Nodes()[1:] // they must notice that the master is dead
	if err := redistest.SetNodeTimeout(t.Context(), redistest.NodeTimeout, left...); err != nil {
		t.Fatal(err)
	}
	r.untilWritable(mailbox)
	second := r.claim(terms, mailbox, requests)

	t.Logf("%d of %d acknowledged claims were handed out again", len(second), len(first))
	if len(first) != requests || len(second) != requests {
		t.Fatalf("claimed %d requests, then %d, want all %d both times",
			len(first), len(second), requests)
	}
	for i, rec := range second {
		if taken := r.reportTwice(terms, first[i], rec); taken != 1 {
			t.Errorf("%d reports were accepted, want 1", taken)
		}
	}
}

// cutOff waits until the first master's replica has all data. Then it freezes the replica and
// disconnects it. It returns a client of the master.
func (r *rig) cutOff(c *redistest.Cluster) *redis.Client {
	r.Helper()
	master, replica := c.Masters[0].Client(r.T), c.Replicas[0].Client(r.T)
	want := master.DBSize(r.Context()).Val()
	r.until("the replica has the master's data", func() bool {
		return replica.DBSize(r.Context()).Val() == want
	})
	c.Replicas[0].Stop()
	r.do(master, "client", "kill", "type", "replica")
	return master
}

// reportTwice reports a request from two workers at once. It returns the number of accepted
// reports.
func (r *rig) reportTwice(terms backends.Terms, one, two backends.Record) int {
	var taken atomic.Int32
	var workers sync.WaitGroup
	for i, rec := range []backends.Record{one, two} {
		workers.Go(func() {
			e := report(terms, two.ID, rec.Attempt)
			e.Payload = []byte(fmt.Sprint("worker ", i))
			_, err := r.b.End(r.Context(), e)
			if err == nil {
				taken.Add(1)
			} else if !errors.Is(err, backends.ErrEnded) {
				r.Errorf("End: %v", err)
			}
		})
	}
	workers.Wait()
	return int(taken.Load())
}
