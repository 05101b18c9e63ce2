package goredis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

func TestConformanceOnCluster(t *testing.T) {
	client := redistest.StartCluster(t).Client(t)
	backendtest.Run(t, func(t *testing.T) backends.Backend {
		return newBackend(t, client, &goredis.Options{Prefix: newPrefix(t)})
	})
}

// keyRecorder stands in for a connection: it keeps the keys of the commands that it is handed, and
// sends nothing.
type keyRecorder struct{ keys []string }

func (k *keyRecorder) DialHook(next redis.DialHook) redis.DialHook { return next }

func (k *keyRecorder) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if cmd.Name() == "get" {
				k.keys = append(k.keys, cmd.Args()[1].(string))
			}
			cmd.SetErr(redis.Nil)
		}
		return redis.Nil
	}
}

func (k *keyRecorder) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		args := cmd.Args()
		for _, key := range args[3 : 3+args[2].(int)] {
			k.keys = append(k.keys, key.(string))
		}
		cmd.SetErr(redis.Nil)
		return redis.Nil
	}
}

// recordingClient returns a client that sends nothing, and what it keeps instead.
func recordingClient(t testing.TB) (*redis.Client, *keyRecorder) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { client.Close() })
	recorder := &keyRecorder{}
	client.AddHook(recorder)
	return client, recorder
}

// recordKeys returns a backend that sends nothing, and what it keeps instead.
func recordKeys(t testing.TB) (*goredis.Backend, *keyRecorder) {
	client, recorder := recordingClient(t)
	b, err := goredis.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b, recorder
}

// keySlot is the hash slot of a key: CRC-16/XMODEM of its hash tag, as the cluster specification
// has it.
func keySlot(key string) int {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if length := strings.IndexByte(key[open+1:], '}'); length > 0 {
			key = key[open+1 : open+1+length]
		}
	}
	crc := uint16(0)
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			carry := crc&0x8000 != 0
			crc <<= 1
			if carry {
				crc ^= 0x1021
			}
		}
	}
	return int(crc) % redistest.Slots
}

// slotOf is where a mailbox lies.
func slotOf(mailbox string) int { return keySlot("{" + backends.Partition(mailbox) + "}") }

// masterOf is which of a fresh cluster's masters has a slot.
func masterOf(slot int) int { return (slot*3 + 2) / redistest.Slots }

// mailboxesOf returns n mailboxes that lie on one of a fresh cluster's masters, each in a slot of
// its own.
func mailboxesOf(master, n int) []string {
	var mailboxes []string
	taken := map[int]bool{}
	for i := 0; len(mailboxes) < n; i++ {
		mailbox := fmt.Sprint("runtime-", i)
		if slot := slotOf(mailbox); masterOf(slot) == master && !taken[slot] {
			taken[slot] = true
			mailboxes = append(mailboxes, mailbox)
		}
	}
	return mailboxes
}

func TestClusterSpreadsMailboxesEvenly(t *testing.T) {
	const mailboxes = 100_000
	b, recorder := recordKeys(t)
	var masters [3]int
	slots := map[int]int{}
	for i := range mailboxes {
		recorder.keys = recorder.keys[:0]
		_, _ = b.HasPending(t.Context(), "ping", fmt.Sprint("runtime-", i))
		slot := keySlot(recorder.keys[0])
		slots[slot]++
		masters[masterOf(slot)]++
	}
	fullest := 0
	for _, n := range slots {
		fullest = max(fullest, n)
	}
	t.Logf("of %d mailboxes the masters have %v, in %d of %d slots, at most %d in one", mailboxes, masters, len(slots),
		redistest.Slots, fullest)
	for i, n := range masters {
		if n < mailboxes*32/100 || n > mailboxes*35/100 {
			t.Errorf("master %d has %d of %d mailboxes, want 32 to 35 %%", i, n, mailboxes)
		}
	}
	if average := mailboxes / redistest.Slots; fullest > 6*average {
		t.Errorf("a slot has %d mailboxes, want no more than six times the average of %d", fullest, average)
	}
}

func TestClusterAgreesOnSlots(t *testing.T) {
	c := redistest.StartCluster(t)
	client := c.Client(t)
	for _, mailbox := range hostileMailboxes {
		for _, key := range keysOf(t, mailbox) {
			if got := client.ClusterKeySlot(t.Context(), key).Val(); got != int64(keySlot(key)) {
				t.Errorf("%q is in slot %d of the cluster, this test takes it for %d", key, got, keySlot(key))
			}
		}
	}
	for i, master := range c.Masters {
		for _, mailbox := range mailboxesOf(i, 50) {
			node, err := client.MasterForKey(t.Context(), keysOf(t, mailbox)[0])
			if err != nil || node.Options().Addr != master.Addr {
				t.Errorf("mailbox %s is on %v (%v), this test takes it for being on %s", mailbox, node, err, master.Addr)
			}
		}
	}
}

// hostileMailboxes are names that would move a key's hash tag if they stood in front of it or
// inside.
var hostileMailboxes = []string{
	"runtime-1", "}", "{", "{}", "{x}", "x}:{y", "x}", "}{", "{{x}}", ":", "/", "/r/", "a/q/b", "\x00", "a\x00b", " ",
	"  ", "\n", "ü", "\U0001F600", "*", "[a]", "\\", "'", "\"", "%s", strings.Repeat("x", 512),
	strings.Repeat("}", 512), strings.Repeat("{", 512), "\xff\xfe", strings.Repeat("x", 1<<20),
}

// keysOf returns the keys of every operation on a mailbox: a heartbeat over five stores, and the
// life of a request that is exclusive and has several attempts.
func keysOf(t testing.TB, mailbox string) []string {
	b, recorder := recordKeys(t)
	terms := lasting("update")
	terms.Exclusive, terms.MaxAttempts, terms.MaxPending = true, 3, 10
	c := question(terms, mailbox)
	ctx := context.Background()
	_, _ = b.Create(ctx, c)
	_, _ = b.HasPending(ctx, terms.Store, mailbox)
	_, _ = b.Claim(ctx, heartbeat(mailbox, 1, lasting("local_skill:list"), lasting("local_skill:import"),
		lasting("ping"), terms, lasting("model_list")))
	_, _ = b.Extend(ctx, backends.Extend{Terms: terms, ID: c.ID, Attempt: 1, Mailbox: mailbox})
	_, _ = b.End(ctx, report(terms, c.ID, 1))
	_, _ = b.Get(ctx, terms.Store, c.ID)
	return recorder.keys
}

func TestClusterKeepsAMailboxInOneSlot(t *testing.T) {
	slots := map[int]bool{}
	for _, mailbox := range hostileMailboxes {
		slots[checkOneSlot(t, mailbox)] = true
	}
	if len(slots) < len(hostileMailboxes)-1 {
		t.Errorf("%d hostile mailboxes pile onto %d slots", len(hostileMailboxes), len(slots))
	}
}

func FuzzClusterKeepsAMailboxInOneSlot(f *testing.F) {
	for _, mailbox := range hostileMailboxes {
		f.Add(mailbox)
	}
	f.Fuzz(func(t *testing.T, mailbox string) { checkOneSlot(t, mailbox) })
}

func checkOneSlot(t *testing.T, mailbox string) int {
	t.Helper()
	keys := keysOf(t, mailbox)
	if len(keys) != 2+1+6+1+1+1 {
		t.Fatalf("got %d keys, want those of six operations", len(keys))
	}
	for _, key := range keys {
		if keySlot(key) != slotOf(mailbox) {
			t.Errorf("mailbox %.40q: key %.80q is in slot %d, want %d", mailbox, key, keySlot(key), slotOf(mailbox))
		}
	}
	return slotOf(mailbox)
}

func TestClusterSlotsMigrateUnderLoad(t *testing.T) {
	c := redistest.StartCluster(t)
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

// startMoving has two nodes expect that a slot moves from one to the other, and returns their
// clients.
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

// A record arrives at its slot's new node before the queue that its claim has to move in.
func TestClusterExtendWaitsForAllOfAMailbox(t *testing.T) {
	c := redistest.StartCluster(t)
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
	_, err := r.b.Extend(t.Context(), backends.Extend{Terms: terms, ID: rec.ID, Attempt: 1, Mailbox: mailbox})
	if err == nil || !strings.Contains(err.Error(), "TRYAGAIN") {
		t.Errorf("with half of the mailbox moved: got %v, want TRYAGAIN", err)
	}
	if n := target.ClusterCountKeysInSlot(t.Context(), slot).Val(); n != 1 {
		t.Errorf("the new node has %d keys of the slot, want the record alone", n)
	}
	r.migrate(c, slot, c.Masters[0], c.Masters[1])
	if _, err := r.b.Extend(t.Context(), backends.Extend{Terms: terms, ID: rec.ID, Attempt: 1, Mailbox: mailbox}); err != nil {
		t.Errorf("once all has moved: %v", err)
	}
}

// While a slot moves, what is staged comes to its new node, though the record may still be at the
// old one.
func TestClusterTakesLargeAnswersWhileTheirSlotMoves(t *testing.T) {
	// The payload gets a key of its own if the record has moved. Else it goes through the script.
	for name, moved := range map[string]bool{"before the record": false, "behind the record": true} {
		t.Run(name, func(t *testing.T) {
			c := redistest.StartCluster(t)
			r := newRig(t, c.Client(t))
			r.large = true
			mailbox, terms := mailboxesOf(0, 1)[0], lasting("s")
			r.create(terms, mailbox)
			rec := r.claim(terms, mailbox, 1)[0]
			slot := slotOf(mailbox)
			source, target := r.startMoving(slot, c.Masters[0], c.Masters[1])
			if moved {
				r.moveKeys(source, c.Masters[1].Addr, source.ClusterGetKeysInSlot(t.Context(), slot, 10).Val())
			}
			r.end(terms, rec)
			r.migrate(c, slot, c.Masters[0], c.Masters[1])
			want := r.report(terms, rec.ID, mailbox, 1).Payload
			if got := r.get("s", rec.ID); got.Status != backends.StatusCompleted || !bytes.Equal(got.Payload, want) {
				t.Errorf("got %s with %d bytes, want it completed with %d", got.Status, len(got.Payload), len(want))
			}
			for _, key := range target.ClusterGetKeysInSlot(t.Context(), slot, 10).Val() {
				payload, expires := strings.Contains(key, "/p/"), target.PTTL(t.Context(), key).Val() <= 10*time.Second
				if payload && !expires != moved {
					t.Errorf("%s expires at once: %v", key, expires)
				}
			}
		})
	}
}

// Sharded subscriptions end when their slot moves: those who wait follow it.
func TestClusterWaitersFollowTheirSlot(t *testing.T) {
	c := redistest.StartCluster(t)
	client := c.Client(t)
	store, mailbox := newJobs(t, client, &goredis.Options{PollInterval: patient}), mailboxesOf(0, 1)[0]
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
	eventually(t, "the waiter listens where its slot is now", func() bool { return listened(1) })
	if _, err := store.Create(t.Context(), mailbox, ""); err != nil {
		t.Fatal(err)
	}
	if err := <-claimed; err != nil {
		t.Error(err)
	}
}

func TestClusterFailsOverUnderLoad(t *testing.T) {
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
	// A machine that stalls makes nodes take other masters for dead, too. That may lose as much.
	if elections == 1 {
		onFailed := func(id string) bool { return masterOf(slotOfID(id)) == 0 }
		l.checkExactlyOnce(slices.DeleteFunc(all, onFailed))
		l.checkExactlyOnce(l.createdSince(before))
	}
	l.checkOncePerMaster(1 + elections)
	t.Logf("%d elections", elections)
	t.Logf("%+v", l.tally())
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

// checkOncePerMaster checks that none of so many masters, one after the other, handed out a request
// twice or took two reports on it.
func (l *load) checkOncePerMaster(masters int) {
	l.Helper()
	for _, id := range l.ids() {
		if l.claimed[id] > masters || l.taken[id] > masters || l.taken[id] > l.claimed[id] {
			l.Errorf("%s was handed out %d times, and %d reports were taken", id, l.claimed[id], l.taken[id])
		}
	}
}

func TestClusterHandsOutAgainWhatItsReplicaNeverHeardOf(t *testing.T) {
	const requests = 50
	c := redistest.StartCluster(t)
	r := newRig(t, c.Client(t))
	terms, mailbox := lasting("s"), mailboxesOf(0, 1)[0]
	for range requests {
		r.create(terms, mailbox)
	}
	master := r.cutOff(c)

	r.do(master, "config", "set", "min-replicas-to-write", "1")
	if _, err := r.b.Claim(t.Context(), heartbeat(mailbox, requests, terms)); !redis.HasErrorPrefix(err, "NOREPLICAS") {
		t.Errorf("Claim without the replica that the master asks for: got %v, want NOREPLICAS", err)
	}
	r.do(master, "config", "set", "min-replicas-to-write", "0")
	first := r.claim(terms, mailbox, requests)
	c.Masters[0].Kill()
	c.Replicas[0].Continue()
	r.untilWritable(mailbox)
	second := r.claim(terms, mailbox, requests)

	t.Logf("%d of %d acknowledged claims were handed out again", len(second), len(first))
	if len(first) != requests || len(second) != requests {
		t.Fatalf("got %d claims, then %d, want all %d both times", len(first), len(second), requests)
	}
	for i, rec := range second {
		if taken := r.reportTwice(terms, first[i], rec); taken != 1 {
			t.Errorf("%d reports were taken, want 1", taken)
		}
	}
}

// cutOff waits until the first master's replica has all its data, and takes the replica from it,
// frozen. It returns a client of the master.
func (r *rig) cutOff(c *redistest.Cluster) *redis.Client {
	r.Helper()
	master, replica := c.Masters[0].Client(r.T), c.Replicas[0].Client(r.T)
	want := master.DBSize(r.Context()).Val()
	r.until("the replica has the master's data", func() bool { return replica.DBSize(r.Context()).Val() == want })
	c.Replicas[0].Stop()
	r.do(master, "client", "kill", "type", "replica")
	return master
}

// reportTwice reports one request from two workers at once, and returns how many reports were
// taken.
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
