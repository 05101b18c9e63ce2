package goredis_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

func TestStorageRemembersAClaimAsLongAsItRuns(t *testing.T) {
	r := newRig(t, redistest.Client(t))
	update, ping := lasting("update"), lasting("ping")
	update.RunningTimeout, ping.RunningTimeout = 150*time.Second, 60*time.Second
	r.create(update, box)
	r.create(ping, box)
	before := r.dump()
	if _, err := r.b.Claim(t.Context(), heartbeat(box, 1, ping, update)); err != nil {
		t.Fatal(err)
	}
	memos := 0
	for key := range r.dump() {
		if _, old := before[key]; old {
			continue
		}
		memos++
		ttl := r.client.PTTL(t.Context(), key).Val()
		if ttl > 151*time.Second || ttl < 120*time.Second {
			t.Errorf("the claim is remembered for %v, want 150s for its longest request", ttl)
		}
	}
	if memos != 1 {
		t.Errorf("the claim left %d new keys, want its memo", memos)
	}
}

func TestStorageRefusesPrefixesThatCannotWork(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { client.Close() })
	for _, c := range []struct{ prefix, problem string }{
		{"a{b", "brace"}, {"a}b", "brace"}, {"{}", "brace"}, {"a b", "printable"},
		{"a\nb", "printable"}, {"a\x00", "printable"}, {"ü", "printable"}, {"\x7f", "printable"},
		{strings.Repeat("x", 65), "65 bytes"},
	} {
		_, err := goredis.New(client, &goredis.Options{Prefix: c.prefix})
		if err == nil || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("prefix %q: got %v, want an error with %q", c.prefix, err, c.problem)
		}
	}
	for _, prefix := range []string{"", "x", "my-app:", "a/b.c_d~", strings.Repeat("x", 64)} {
		if _, err := goredis.New(client, &goredis.Options{Prefix: prefix}); err != nil {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
	if _, err := goredis.New(nil, nil); err == nil {
		t.Error("New accepted no client")
	}
}

func TestStorageKeepsPrefixesApart(t *testing.T) {
	client := redistest.Client(t)
	one, two := newRig(t, client), newRig(t, client)
	made := one.create(lasting("s"), box)
	if two.has(lasting("s"), box) {
		t.Error("another prefix sees the request")
	}
	two.lifecycle(lasting("s"), box)
	if got := one.get("s", made.ID); got.Status != backends.StatusPending {
		t.Errorf("another prefix made the request %s", got.Status)
	}
}

// The store s with the mailbox q:X, and the store s:q with the mailbox X, may have one partition.
// Their keys must still be different.
func TestStorageGivesDifferentKeysToDifferentThings(t *testing.T) {
	parallel(t)
	owners := map[string]string{}
	client, recorder := recordingClient(t)
	r := newRig(t, client)
	for _, kind := range []string{"r", "q", "l", "x", "c"} {
		for _, mailbox := range ambiguous(kind) {
			for _, store := range []string{"s", "s:" + kind, "s:" + kind + ":" + kind} {
				terms := lasting(store)
				terms.Exclusive, terms.MaxAttempts = true, 3
				recorder.keys = nil
				_, _ = r.b.Create(t.Context(), question(terms, mailbox))
				owner := fmt.Sprintf("%s of %s", mailbox, store)
				for _, key := range unique(recorder.keys) {
					if other, taken := owners[key]; taken {
						t.Errorf("%q belongs to %s and to %s", key, owner, other)
					}
					owners[key] = owner
				}
			}
		}
	}
}

// ambiguous returns two mailboxes that share a partition and differ by a leading kind of key.
func ambiguous(kind string) [2]string {
	for i := 0; ; i++ {
		short, long := fmt.Sprint(i), fmt.Sprint(kind, ":", i)
		if backends.Partition(short) == backends.Partition(long) {
			return [2]string{short, long}
		}
	}
}

func unique(words []string) []string {
	seen := map[string]bool{}
	var once []string
	for _, word := range words {
		if !seen[word] {
			seen[word] = true
			once = append(once, word)
		}
	}
	return once
}
