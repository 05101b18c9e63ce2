package goredis_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

func TestConformanceOnCluster(t *testing.T) {
	parallelOnCluster(t)
	client := redistest.StartPatientCluster(t).Client(t)
	backendtest.Run(t, func(t *testing.T) backends.Backend {
		return newBackend(t, client, &goredis.Options{Prefix: newPrefix(t)})
	})
}

func TestClusterSlotsMigrateUnderLoad(t *testing.T) {
	parallelOnCluster(t)
	c := redistest.StartPatientCluster(t)
	r := newRig(t, c.Client(t))
	mailboxes := mailboxesOf(0, 12)
	l := newLoad(r, mailboxes)
	l.during(func() {
		for _, mailbox := range mailboxes {
			r.migrate(c, slotOf(mailbox), c.Masters[0], c.Masters[1])
		}
	})
	l.checkExactlyOnce(l.ids())
	t.Logf("%d slots moved: %+v", len(mailboxes), l.tally())
}

// migrate moves a slot as redis-cli does.
func (r *rig) migrate(c *redistest.Cluster, slot int, from, to *redistest.Server) {
	r.Helper()
	source, target := r.startMoving(slot, from, to)
	targetID := target.ClusterMyID(r.Context()).Val()
	for {
		keys, err := source.ClusterGetKeysInSlot(r.Context(), slot, 3).Result()
		if err != nil {
			r.Fatalf("listing keys: %v", err)
		}
		if len(keys) == 0 {
			break
		}
		r.moveKeys(source, to.Addr, keys)
	}
	r.do(target, "cluster", "setslot", slot, "node", targetID)
	r.do(source, "cluster", "setslot", slot, "node", targetID)
}

// startMoving tells two nodes that a slot moves from one to the other. It returns their clients.
func (r *rig) startMoving(slot int, from, to *redistest.Server) (source, target *redis.Client) {
	r.Helper()
	source, target = from.Client(r.T), to.Client(r.T)
	r.do(target, "cluster", "setslot", slot, "importing", source.ClusterMyID(r.Context()).Val())
	r.do(source, "cluster", "setslot", slot, "migrating", target.ClusterMyID(r.Context()).Val())
	return source, target
}

func (r *rig) moveKeys(source *redis.Client, target string, keys []string) {
	r.Helper()
	host, port, _ := net.SplitHostPort(target)
	command := []any{"migrate", host, port, "", 0, 5000, "keys"}
	for _, key := range keys {
		command = append(command, key)
	}
	r.do(source, command...)
}

func (r *rig) do(client redis.UniversalClient, words ...any) {
	r.Helper()
	if err := client.Do(r.Context(), words...).Err(); err != nil {
		r.Fatalf("%v: %v", words, err)
	}
}

// A record has moved to its slot's new node, but the queue that an Extend changes has not.
func TestClusterExtendWaitsUntilAllKeysHaveMoved(t *testing.T) {
	parallelOnCluster(t)
	c := redistest.StartPatientCluster(t)
	r := newRig(t, c.Client(t))
	mailbox := mailboxesOf(0, 1)[0]
	terms := lasting("s")
	terms.MaxAttempts = 2
	r.create(terms, mailbox)
	rec := r.claim(terms, mailbox, 1)[0]
	slot := slotOf(mailbox)
	source, target := r.startMoving(slot, c.Masters[0], c.Masters[1])
	for _, key := range source.ClusterGetKeysInSlot(t.Context(), slot, 10).Val() {
		if strings.Contains(key, "/r/") {
			r.moveKeys(source, c.Masters[1].Addr, []string{key})
		}
	}
	extend := backends.Extend{Terms: terms, ID: rec.ID, Attempt: 1, Mailbox: mailbox}
	_, err := r.b.Extend(t.Context(), extend)
	if err == nil || !strings.Contains(err.Error(), "TRYAGAIN") {
		t.Errorf("after half of the keys has moved: got %v, want TRYAGAIN", err)
	}
	if n := target.ClusterCountKeysInSlot(t.Context(), slot).Val(); n != 1 {
		t.Errorf("the new node has %d keys of the slot, want only the record", n)
	}
	r.migrate(c, slot, c.Masters[0], c.Masters[1])
	if _, err := r.b.Extend(t.Context(), extend); err != nil {
		t.Errorf("after all keys have moved: %v", err)
	}
}

// While a slot moves, a staged payload goes to the new node. The record may still be on the old
// one.
func TestClusterAcceptsLargeAnswersWhileTheirSlotMoves(t *testing.T) {
	parallelOnCluster(t)
	c := redistest.StartPatientCluster(t)
	// The payload gets its own key if the record has moved. Otherwise it goes through the script.
	for i, name := range []string{"before the record", "after the record"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.Client(t))
			r.large = true
			moved := i == 1
			mailbox, terms := mailboxesOf(0, 2)[i], lasting("s")
			r.create(terms, mailbox)
			rec := r.claim(terms, mailbox, 1)[0]
			slot := slotOf(mailbox)
			source, target := r.startMoving(slot, c.Masters[0], c.Masters[1])
			if moved {
				keys := source.ClusterGetKeysInSlot(t.Context(), slot, 10).Val()
				r.moveKeys(source, c.Masters[1].Addr, keys)
			}
			r.end(terms, rec)
			r.migrate(c, slot, c.Masters[0], c.Masters[1])
			r.checkCompleted(rec.ID, r.report(terms, rec.ID, mailbox, 1).Payload)
			for _, key := range target.ClusterGetKeysInSlot(t.Context(), slot, 10).Val() {
				kept := target.PTTL(t.Context(), key).Val() > 10*time.Second
				if strings.Contains(key, "/p/") && kept != moved {
					t.Errorf("%s is kept: %v, want %v", key, kept, moved)
				}
			}
		})
	}
}

// A sharded subscription ends when its slot moves. The waiter subscribes at the new node.
func TestClusterWaitersFollowTheirSlot(t *testing.T) {
	parallelOnCluster(t)
	c := redistest.StartPatientCluster(t)
	client := c.Client(t)
	store := newJobs(t, client, &goredis.Options{PollInterval: patient})
	mailbox := mailboxesOf(0, 1)[0]
	claimed := make(chan error, 1)
	go func() {
		_, err := store.AwaitPending(t.Context(), mailbox)
		claimed <- err
	}()
	listened := func(master int) bool {
		channels, err := c.Masters[master].Client(t).PubSubShardChannels(t.Context(), "*").Result()
		return err == nil && len(channels) == 1
	}
	eventually(t, "the waiter listens", func() bool { return listened(0) })
	newRig(t, client).migrate(c, slotOf(mailbox), c.Masters[0], c.Masters[1])
	eventually(t, "the waiter listens at the new node", func() bool { return listened(1) })
	if _, err := store.Create(t.Context(), mailbox, ""); err != nil {
		t.Fatal(err)
	}
	if err := <-claimed; err != nil {
		t.Error(err)
	}
}
