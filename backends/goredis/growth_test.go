package goredis_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/redistest"
)

// fleeting are terms with short timeouts.
func fleeting(store string) backends.Terms {
	return backends.Terms{Store: store, PendingTimeout: 150 * time.Millisecond,
		RunningTimeout: 100 * time.Millisecond, Retention: 100 * time.Millisecond,
		MaxAttempts: 1, MaxPending: 50}
}

func TestGrowthEverythingExpires(t *testing.T) {
	parallel(t)
	r := newRig(t, redistest.Start(t).Client(t))
	r.lifecycle(lasting("s"), "warm-up")
	r.do(r.client, "flushall")
	start := r.usedMemory()
	expired := r.infoNumber("stats", "expired_keys")

	watching, stop := context.WithCancel(t.Context())
	var watch, callers sync.WaitGroup
	watch.Go(func() { r.checkKeysExpire(watching) })
	var created atomic.Int64
	for i := range 4 {
		callers.Go(func() { created.Add(r.soak(i, 400)) })
	}
	callers.Wait()
	stop()
	watch.Wait()

	r.until("all keys have gone", func() bool { return r.client.DBSize(t.Context()).Val() == 0 })
	r.until("memory has returned", func() bool { return r.usedMemory() < start+256<<10 })
	expired = r.infoNumber("stats", "expired_keys") - expired
	t.Logf("%d requests, %d keys that expired", created.Load(), expired)
	if n := int(created.Load()); n == 0 || expired < n {
		t.Errorf("%d requests were created, but only %d keys have expired", n, expired)
	}
}

func (r *rig) usedMemory() int {
	r.Helper()
	return r.infoNumber("memory", "used_memory")
}

// infoNumber returns a number from a section of the server's INFO.
func (r *rig) infoNumber(section, name string) int {
	r.Helper()
	info := r.client.Info(r.Context(), section).Val()
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				r.Fatal(err)
			}
			return n
		}
	}
	r.Fatalf("no %s in\n%s", name, info)
	return 0
}

// soak creates requests, and returns their number. Half of the mailboxes have no worker. The
// workers of the others answer or die.
func (r *rig) soak(caller, rounds int) (created int64) {
	plain, exclusive, retried := fleeting("plain"), fleeting("exclusive"), fleeting("retried")
	exclusive.Exclusive, retried.MaxAttempts = true, 3
	for i := range rounds {
		for _, terms := range []backends.Terms{plain, exclusive, retried} {
			mailbox := fmt.Sprintf("%d-%d", caller, i%20)
			c := question(terms, mailbox)
			c.Payload = make([]byte, 1000)
			_, err := r.b.Create(r.Context(), c)
			if err != nil && !decided(err) {
				r.Errorf("Create: %v", err)
				return created
			}
			if err == nil {
				created++
			}
			if i%20 < 10 { // a mailbox with a worker
				r.work(terms, mailbox, i%3 == 0)
			}
		}
	}
	return created
}

// work claims a request, and ends it unless the worker dies.
func (r *rig) work(terms backends.Terms, mailbox string, dies bool) {
	claimed, err := r.b.Claim(r.Context(), heartbeat(mailbox, 1, terms))
	if err != nil || len(claimed[0].Errs) > 0 {
		r.Errorf("Claim: %v %v", err, claimed)
		return
	}
	for _, rec := range claimed[0].Records {
		if dies {
			continue
		}
		extend := backends.Extend{Terms: terms, ID: rec.ID, Attempt: rec.Attempt}
		_, err := r.b.Extend(r.Context(), extend)
		_, endErr := r.b.End(r.Context(), report(terms, rec.ID, rec.Attempt))
		if err := errors.Join(err, endErr); err != nil && !decided(err) {
			r.Errorf("reporting: %v", err)
		}
	}
}

// checkKeysExpire reads all keys of the server again and again until done. Each key must have a
// time to live, and not a longer one than its request needs.
func (r *rig) checkKeysExpire(done context.Context) {
	// Two waits, a lease and the retention take half a second. A queue lives for a second more.
	const longest = 1500 * time.Millisecond
	seen := 0
	for done.Err() == nil {
		keys := r.client.Scan(done, 0, "*", 1000).Iterator()
		for keys.Next(done) {
			ttl := r.client.PTTL(done, keys.Val()).Val()
			if seen++; ttl == -1 || ttl > longest {
				r.Errorf("%s has a time to live of %v", keys.Val(), ttl)
				return
			}
		}
	}
	if seen == 0 {
		r.Error("no key was seen")
	}
}
