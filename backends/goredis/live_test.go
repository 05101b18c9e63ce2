package goredis_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/redistest"
)

// The queue of a mailbox has every live request. These tests check the consequences.

// busy checks that a mailbox accepts no further request because of the request with this id.
func (r *rig) busy(terms backends.Terms, mailbox, id string) {
	r.Helper()
	_, err := r.b.Create(r.Context(), question(terms, mailbox))
	var busy *backends.BusyError
	if !errors.As(err, &busy) || busy.ID != id {
		r.Fatalf("Create: got %v, want a BusyError with %s", err, id)
	}
}

// onFakeTime runs a test with a miniredis in a bubble.
func onFakeTime(t *testing.T, test func(t *testing.T, r *rig, mini *miniredis.Miniredis)) {
	synctest.Test(t, func(t *testing.T) {
		mini, client := redistest.Mini(t)
		test(t, newRig(t, client), mini)
	})
}

// A clock that is put back makes an expired lease valid again. The lease can then expire again.
func TestClockIsPutBackBehindAnExpiredLease(t *testing.T) {
	m, client := redistest.Mini(t)
	now := time.Now()
	m.SetTime(now)
	r := newRig(t, client)
	terms, short := lasting("s"), lasting("s")
	terms.MaxAttempts, short.PendingTimeout = 3, time.Minute
	expiring := r.create(terms, box)
	r.claim(terms, box, 1)
	m.SetTime(now.Add(90 * time.Minute))
	first := r.create(short, box)
	if got := r.claim(terms, box, 1); len(got) != 1 || got[0].ID != first.ID {
		t.Fatalf("claimed %v, want the request with the earliest deadline", got)
	}
	for range 2 {
		m.SetTime(now)
		if got := r.claim(terms, box, 10); len(got) != 0 {
			t.Fatalf("claimed %v, although the lease is valid", got)
		}
		if r.has(terms, box) {
			t.Error("HasPending reports a running request")
		}
	}
	m.SetTime(now.Add(90 * time.Minute))
	got := r.claim(terms, box, 10)
	if len(got) != 1 || got[0].ID != expiring.ID || got[0].Attempt != 2 {
		t.Fatalf("got %v, want the request with the expired lease", got)
	}
}

// queue returns the key of the rig's only queue.
func (r *rig) queue() string {
	r.Helper()
	queues := r.client.Keys(r.Context(), r.prefix+"*/q/*").Val()
	if len(queues) != 1 {
		r.Fatalf("got the queues %q, want one", queues)
	}
	return queues[0]
}

// An expired lease with attempts left is older than a thousand that have timed out.
func TestPendingExclusiveAndClaimAgreeAboutAThousandExpiredLeases(t *testing.T) {
	parallel(t)
	onFakeTime(t, func(t *testing.T, r *rig, _ *miniredis.Miniredis) {
		once, retried := lasting("s"), lasting("s")
		retried.MaxAttempts, retried.RunningTimeout = 2, time.Hour-time.Second
		made := r.create(once, box)
		r.claim(retried, box, 1)
		for range 11 {
			for range 100 {
				r.create(once, box)
			}
			r.claim(once, box, 100)
		}
		time.Sleep(time.Hour + time.Microsecond)
		if !r.has(retried, box) {
			t.Error("HasPending reports no request, although a Claim gets one")
		}
		exclusive := retried
		exclusive.Exclusive = true
		r.busy(exclusive, box, made.ID)
		if got := r.claim(retried, box, 1); len(got) != 1 || got[0].ID != made.ID {
			t.Errorf("claimed %v, want the expired lease", got)
		}
	})
}

func TestNoQueueKeepsWhatHasTimedOut(t *testing.T) {
	parallel(t)
	onFakeTime(t, func(t *testing.T, r *rig, _ *miniredis.Miniredis) {
		const many = 1500
		terms := lasting("s")
		terms.PendingTimeout = 10 * time.Minute
		for range many {
			r.create(terms, box)
		}
		for range many / 100 / 2 {
			if got := r.claim(terms, box, 100); len(got) != 100 {
				t.Fatalf("claimed %d, want 100", len(got))
			}
		}
		queue := r.queue()
		holds := func(want int64) {
			t.Helper()
			if n := r.client.ZCard(t.Context(), queue).Val(); n != want {
				t.Errorf("the queue has %d requests, want the %d live ones", n, want)
			}
		}
		holds(many)
		time.Sleep(time.Hour + time.Microsecond)
		last := r.create(terms, box)
		if got := r.claim(terms, box, 1); len(got) != 1 || got[0].ID != last.ID {
			t.Fatalf("claimed %v, want the only request that has not timed out", got)
		}
		for range many / 100 {
			r.create(terms, box)
			r.claim(terms, box, 1)
		}
		holds(1 + many/100)
	})
}

func TestAQueueLivesAsLongAsItsRequestsRun(t *testing.T) {
	r := newRig(t, redistest.Client(t))
	terms := lasting("s")
	made := r.create(terms, box)
	queue := r.queue()
	lives := func(when string, least time.Duration) {
		t.Helper()
		ttl := r.client.PTTL(t.Context(), queue).Val()
		if ttl < least-time.Minute || ttl > least+2*time.Second {
			t.Errorf("%s: the queue lives for %v, want %v and a second", when, ttl, least)
		}
	}
	lives("created, with an hour to wait and one to run", 2*time.Hour)
	terms.RunningTimeout = 4 * time.Hour
	running := r.claim(terms, box, 1)[0]
	if running.ID != made.ID {
		t.Fatalf("claimed %v, want %s", running, made.ID)
	}
	lives("claimed by a node that lets it run longer", 4*time.Hour)
	terms.RunningTimeout = 8 * time.Hour
	r.extend(terms, running)
	lives("extended by a node that lets it run longer", 8*time.Hour)
	terms.RunningTimeout = time.Hour
	r.extend(terms, running)
	lives("extended by a node that lets it run shorter", 8*time.Hour)
	r.create(terms, box)
	lives("beside a new request", 8*time.Hour)
}

// Nodes with longer terms claim and extend a request. Its lease expires at the exact microsecond.
func TestALongerClaimKeepsItsPlaceInTheQueue(t *testing.T) {
	onFakeTime(t, func(t *testing.T, r *rig, _ *miniredis.Miniredis) {
		short, long := lasting("s"), lasting("s")
		short.PendingTimeout, short.RunningTimeout, short.MaxAttempts = time.Second, time.Second, 2
		long.RunningTimeout, long.MaxAttempts, long.Exclusive = 5*time.Hour, 2, true
		made := r.create(short, box)
		running := r.claim(long, box, 1)[0]
		for range 3 {
			time.Sleep(5 * time.Hour)
			r.extend(long, running)
		}
		time.Sleep(5 * time.Hour)
		r.busy(long, box, made.ID)
		time.Sleep(time.Microsecond)
		got := r.claim(long, box, 1)
		if len(got) != 1 || got[0].ID != made.ID || got[0].Attempt != 2 {
			t.Fatalf("claimed %v, want %s again", got, made.ID)
		}
	})
}

// expired leaves n requests with expired leases in the mailbox. It returns their ids, the oldest
// first.
func (r *rig) expired(terms backends.Terms, n int) []string {
	r.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = r.create(terms, box).ID
		time.Sleep(time.Microsecond)
	}
	for claimed := 0; claimed < n; claimed += 100 {
		if got := r.claim(terms, box, 100); len(got) != min(100, n-claimed) {
			r.Fatalf("claimed %d, want 100 or the rest", len(got))
		}
		time.Sleep(time.Microsecond)
	}
	time.Sleep(terms.RunningTimeout)
	return ids
}

func TestAllExpiredLeasesAreHandedOutAgainOldestFirst(t *testing.T) {
	parallel(t)
	for limit, many := range map[int]int{7: 300, 100: 1500} {
		t.Run(fmt.Sprint(limit, " at a time"), func(t *testing.T) {
			onFakeTime(t, func(t *testing.T, r *rig, _ *miniredis.Miniredis) {
				terms := lasting("s")
				terms.MaxAttempts = 2
				want := r.expired(terms, many)
				var got []string
				for range many/limit + 1 {
					for _, rec := range r.claim(terms, box, limit) {
						got = append(got, rec.ID)
					}
				}
				checkBatches(t, got, want)
			})
		})
	}
}

// checkBatches compares ids in batches of 100. The requests of a batch have equal deadlines.
func checkBatches(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d requests, want %d", len(got), len(want))
	}
	for i := 0; i < len(want); i += 100 {
		one := slices.Sorted(slices.Values(got[i : i+100]))
		if !slices.Equal(one, slices.Sorted(slices.Values(want[i:i+100]))) {
			t.Fatalf("requests %d to %d are from other batches", i, i+99)
		}
	}
}

// fill adds n requests to the mailbox of the only request, without calls. Change returns a record
// and its score for the record of the only request.
func (r *rig) fill(mini *miniredis.Miniredis, n int, change func(record string) (string, float64)) {
	r.Helper()
	queue := r.queue()
	id := r.client.ZRange(r.Context(), queue, 0, 0).Val()[0]
	record, err := mini.Get(records(queue) + id)
	if err != nil {
		r.Fatal(err)
	}
	for range n {
		id := backends.NewID(box)
		text, score := change(record)
		_ = mini.Set(records(queue)+id, text)
		_, _ = mini.ZAdd(queue, score, id)
	}
}

func TestAClaimSkipsThousandsOfTimedOutRequests(t *testing.T) {
	parallel(t)
	for name, sign := range map[string]float64{"while they waited": 1, "while they ran": -1} {
		t.Run(name, func(t *testing.T) {
			onFakeTime(t, func(t *testing.T, r *rig, mini *miniredis.Miniredis) {
				terms := lasting("s")
				waiting := r.create(terms, box)
				past := time.Now().Add(-time.Minute).UnixMicro()
				r.fill(mini, 5000, func(record string) (string, float64) {
					if sign < 0 {
						zeros := strings.Repeat("0", 36)
						record = fmt.Sprintf("1r%016d%s%016d%s%s",
							past, record[18:38], past, zeros, record[54:])
					} else {
						record = fmt.Sprintf("1p%016d%s", past, record[18:])
					}
					return record, sign * float64(past)
				})
				if !r.has(terms, box) {
					t.Error("HasPending does not see the waiting request")
				}
				if got := r.claim(terms, box, 1); len(got) != 1 || got[0].ID != waiting.ID {
					t.Errorf("got %v, want the waiting request", got)
				}
			})
		})
	}
}

func TestUnreadableRecordsHideNoOthers(t *testing.T) {
	parallel(t)
	onFakeTime(t, func(t *testing.T, r *rig, mini *miniredis.Miniredis) {
		terms := lasting("s")
		first := r.create(terms, box)
		r.fill(mini, 900, func(string) (string, float64) {
			return "garbage", float64(first.Deadline.UnixMicro() - 1)
		})
		claimed, err := r.b.Claim(t.Context(), heartbeat(box, 1, terms))
		if err != nil {
			t.Fatal(err)
		}
		got := claimed[0]
		if len(got.Records) != 1 || got.Records[0].ID != first.ID || len(got.Errs) != 900 {
			t.Errorf("got %v and %d errors, want %s and 900", got.Records, len(got.Errs), first.ID)
		}
	})
}

// records returns the beginning of the keys of records for a queue of box.
func records(queue string) string { return strings.TrimSuffix(queue, "q/"+box) + "r/" }
