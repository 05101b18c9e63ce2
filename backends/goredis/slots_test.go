package goredis_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

// keyRecorder is a hook that records the keys of commands, and does not send the commands.
type keyRecorder struct {
	passing
	keys []string
}

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

// recordingClient returns a client that only records keys, and its recorder.
func recordingClient(t testing.TB) (*redis.Client, *keyRecorder) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { client.Close() })
	recorder := &keyRecorder{}
	client.AddHook(recorder)
	return client, recorder
}

// recordKeys returns a backend that only records keys, and its recorder.
func recordKeys(t testing.TB) (*goredis.Backend, *keyRecorder) {
	client, recorder := recordingClient(t)
	b, err := goredis.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b, recorder
}

// keySlot is the hash slot of a key by the cluster specification: CRC-16/XMODEM of its hash tag.
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

// slotOf is the slot of a mailbox.
func slotOf(mailbox string) int { return keySlot("{" + backends.Partition(mailbox) + "}") }

// masterOf is the index of the master with a slot, in a new cluster.
func masterOf(slot int) int { return (slot*3 + 2) / redistest.Slots }

// mailboxesOf returns n mailboxes on one master of a new cluster, all in different slots.
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
	t.Logf("of %d mailboxes the masters have %v, in %d of %d slots, at most %d in one",
		mailboxes, masters, len(slots), redistest.Slots, fullest)
	for i, n := range masters {
		if n < mailboxes*32/100 || n > mailboxes*35/100 {
			t.Errorf("master %d has %d of %d mailboxes, want 32 to 35 %%", i, n, mailboxes)
		}
	}
	if average := mailboxes / redistest.Slots; fullest > 6*average {
		t.Errorf("a slot has %d mailboxes, want at most six times the average of %d",
			fullest, average)
	}
}

func TestClusterAndTestsAgreeOnSlots(t *testing.T) {
	parallelOnCluster(t)
	c := redistest.StartPatientCluster(t)
	client := c.Client(t)
	for _, mailbox := range hostileMailboxes {
		for _, key := range keysOf(t, mailbox) {
			if got := client.ClusterKeySlot(t.Context(), key).Val(); got != int64(keySlot(key)) {
				t.Errorf("%q is in slot %d, but keySlot returns %d", key, got, keySlot(key))
			}
		}
	}
	for i, master := range c.Masters {
		for _, mailbox := range mailboxesOf(i, 50) {
			node, err := client.MasterForKey(t.Context(), keysOf(t, mailbox)[0])
			if err != nil || node.Options().Addr != master.Addr {
				t.Errorf("mailbox %s is on %v (%v), but mailboxesOf returned it for %s",
					mailbox, node, err, master.Addr)
			}
		}
	}
}

// hostileMailboxes are names that would change a key's hash tag inside or before the tag.
var hostileMailboxes = []string{
	"runtime-1", "}", "{", "{}", "{x}", "x}:{y", "x}", "}{", "{{x}}", ":", "/", "/r/", "a/q/b",
	"\x00", "a\x00b", " ", "  ", "\n", "ü", "\U0001F600", "*", "[a]", "\\", "'", "\"", "%s",
	strings.Repeat("x", 512), strings.Repeat("}", 512), strings.Repeat("{", 512), "\xff\xfe",
	strings.Repeat("x", 1<<20),
}

// keysOf returns the keys of every operation on a mailbox: a heartbeat of five stores, and all
// calls for an exclusive request with several attempts.
func keysOf(t testing.TB, mailbox string) []string {
	b, recorder := recordKeys(t)
	terms := lasting("update")
	terms.Exclusive, terms.MaxAttempts, terms.MaxPending = true, 3, 10
	c := question(terms, mailbox)
	ctx := context.Background()
	_, _ = b.Create(ctx, c)
	_, _ = b.HasPending(ctx, terms.Store, mailbox)
	_, _ = b.Claim(ctx, heartbeat(mailbox, 1, lasting("local_skill:list"),
		lasting("local_skill:import"), lasting("ping"), terms, lasting("model_list")))
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
		t.Errorf("%d hostile mailboxes are in only %d slots", len(hostileMailboxes), len(slots))
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
		t.Fatalf("got %d keys, want the keys of six operations", len(keys))
	}
	for _, key := range keys {
		if keySlot(key) != slotOf(mailbox) {
			t.Errorf("mailbox %.40q: key %.80q is in slot %d, want %d",
				mailbox, key, keySlot(key), slotOf(mailbox))
		}
	}
	return slotOf(mailbox)
}
