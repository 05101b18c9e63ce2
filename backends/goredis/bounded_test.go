package goredis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/redistest"
)

// calls returns the number of commands that the server has run, in scripts and outside.
func (r *rig) calls() (n int) {
	r.Helper()
	for line := range strings.Lines(r.client.Info(r.Context(), "commandstats").Val()) {
		var calls int
		_, after, isStat := strings.Cut(line, ":calls=")
		if _, err := fmt.Sscanf(after, "%d", &calls); isStat && err == nil {
			n += calls
		}
	}
	return n
}

// Each script examines at most 1,000 requests, however many a mailbox has.
func TestNoScriptDoesUnboundedWork(t *testing.T) {
	parallel(t)
	const most = 3100 // about three commands for each of 1,000 requests
	server := redistest.Start(t)
	for name, left := range map[string]time.Duration{"expired leases": time.Hour, "timed out": 0} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, server.Client(t))
			terms := lasting("s")
			terms.MaxAttempts, terms.MaxPending = 3, 100_000
			r.crowd(terms, 40_000, left)
			capped, exclusive := terms, terms
			capped.MaxPending, exclusive.Exclusive = 20_000, true
			create := func(terms backends.Terms) error {
				_, err := r.b.Create(t.Context(), question(terms, box))
				return err
			}
			claim := func(limit int) error {
				_, err := r.b.Claim(t.Context(), heartbeat(box, limit, terms))
				return err
			}
			r.bounded("Create", most, func() error { return create(terms) })
			r.bounded("Create at the cap", most, func() error { return create(capped) })
			r.bounded("Create, exclusive", most, func() error { return create(exclusive) })
			r.bounded("HasPending", most, func() error { r.has(terms, box); return nil })
			r.bounded("Claim of one", most, func() error { return claim(1) })
			r.bounded("Claim of a hundred", most, func() error { return claim(100) })
		})
	}
}

// bounded checks that the server runs at most this many commands for a call.
func (r *rig) bounded(name string, most int, call func() error) {
	r.Helper()
	before := r.calls()
	if err := call(); err != nil && !decided(err) {
		r.Fatalf("%s: %v", name, err)
	}
	if n := r.calls() - before; n > most {
		r.Errorf("%s: the server ran %d commands, want at most %d", name, n, most)
	}
}

// crowd puts n claimed requests into the mailbox, a multiple of 1,000. Their leases expired a
// minute ago. Their last deadlines are by left later.
func (r *rig) crowd(terms backends.Terms, n int, left time.Duration) {
	r.Helper()
	r.create(terms, box)
	r.claim(terms, box, 1)
	queue := r.queue()
	id := r.client.ZRange(r.Context(), queue, 0, 0).Val()[0]
	const plant = `
		local record, past = redis.call('GET', KEYS[1] .. ARGV[1]), redis.call('TIME')[1] - 60
		local deadline = string.format('%010d000000', past)
		local last = string.format('%010d000000', past + ARGV[3])
		record = '1r' .. deadline .. string.sub(record, 19, 38) .. last .. string.sub(record, 55)
		for i = ARGV[2] + 1, ARGV[2] + 1000 do
			local id = string.sub(ARGV[1], 1, 20) .. string.format('%010d', i)
			redis.call('SET', KEYS[1] .. id, record, 'PX', 3600000)
			redis.call('ZADD', KEYS[2], '-' .. deadline, id)
		end`
	keys := []string{records(queue), queue}
	for planted := 0; planted < n; planted += 1000 { // one long script would block the server
		err := r.client.Eval(r.Context(), plant, keys, id, planted, int(left.Seconds())).Err()
		if err != nil && !errors.Is(err, redis.Nil) {
			r.Fatal(err)
		}
	}
}
