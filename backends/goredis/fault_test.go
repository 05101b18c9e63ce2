package goredis_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

func TestFaultScriptsAreFlushedAllTheTime(t *testing.T) {
	server := redistest.Start(t)
	for name, mode := range pipelining {
		t.Run(name, func(t *testing.T) { liveWithoutScripts(newPipeliningRig(t, server.Client(t), mode), server) })
		t.Run(name+", large answers", func(t *testing.T) {
			r := newPipeliningRig(t, server.Client(t), mode)
			r.large = true
			liveWithoutScripts(r, server)
		})
	}
	t.Run("through the client's own autopipeliner", func(t *testing.T) {
		face, err := server.Client(t).AutoPipeline()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { face.Close() })
		r := newRig(t, face)
		liveWithoutScripts(r, server)
		r.large = true
		liveWithoutScripts(r, server)
	})
}

// liveWithoutScripts lets callers work while the server forgets its scripts over and over.
func liveWithoutScripts(r *rig, server *redistest.Server) {
	r.Helper()
	before := r.missingScripts()
	stop := flushScripts(r.T, server.Client(r.T))
	defer stop()
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() { r.live(fmt.Sprint("runtime-", i), 15) })
	}
	callers.Wait()
	if r.missingScripts() == before {
		r.Error("no script was missing: the test tests nothing")
	}
}

// flushScripts makes the server forget its scripts in a loop until stop is called.
func flushScripts(t *testing.T, client *redis.Client) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	loop.Go(func() {
		for ctx.Err() == nil {
			client.ScriptFlush(ctx)
		}
	})
	return func() {
		cancel()
		loop.Wait()
	}
}

// missingScripts returns how often the server has answered NOSCRIPT.
func (r *rig) missingScripts() string {
	for line := range strings.Lines(r.client.Info(r.Context(), "errorstats").Val()) {
		if count, ok := strings.CutPrefix(line, "errorstat_NOSCRIPT:count="); ok {
			return count
		}
	}
	return "0"
}

// live takes n requests of a mailbox through their lives, and may run beside others.
func (r *rig) live(mailbox string, n int) {
	for range n {
		for _, step := range r.steps(question(lasting("s"), mailbox)) {
			if err := step.call(r.Context()); err != nil {
				r.Errorf("%s: %v", step.name, err)
				return
			}
		}
	}
}

// With appendfsync always, every write that was answered is in the file. With everysec, a slow disk
// may hold back the writes of more than a second.
func TestFaultServerIsKilledAndReadsItsFileAgain(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	l := newLoad(newRig(t, server.Client(t)), []string{"runtime-1", "runtime-2", "runtime-3"})
	l.during(func() {
		for range 3 {
			server.Kill()
			server.Restart()
			l.await(50)
		}
	})
	l.checkExactlyOnce(l.ids())
	t.Logf("%+v", l.tally())
}

func TestFaultServerLosesEverything(t *testing.T) {
	server := redistest.Start(t)
	r := newRig(t, server.Client(t))
	faults := map[string]func(){
		"restart without persistence": func() { server.Kill(); server.Restart() },
		"FLUSHALL":                    func() { r.do(r.client, "flushall") },
	}
	for name, happens := range faults {
		terms := lasting("s")
		terms.Exclusive, terms.MaxAttempts, terms.MaxPending = true, 3, 1
		made := r.create(terms, box)
		r.claim(terms, box, 1)
		happens()
		for _, step := range r.steps(question(terms, box))[3:] { // those that need the request
			if err := insist(t.Context(), step.call); !errors.Is(err, backends.ErrNotFound) {
				t.Errorf("%s: %s: got %v, want ErrNotFound", name, step.name, err)
			}
		}
		if _, err := r.b.Get(t.Context(), "s", made.ID); !errors.Is(err, backends.ErrNotFound) {
			t.Errorf("%s: Get: got %v, want ErrNotFound", name, err)
		}
		r.lifecycle(terms, box)
	}
}

func TestFaultMemoryIsFull(t *testing.T) {
	plain := lasting("s")
	retried, exclusive := plain, plain
	retried.MaxAttempts, exclusive.Exclusive = 3, true
	for name, terms := range map[string]backends.Terms{"plain": plain, "several attempts": retried, "exclusive": exclusive,
		"large answers": plain} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, redistest.Start(t).Client(t))
			r.large = name == "large answers"
			mailboxes := []string{"claimed before", "claimed while full", "never claimed"}
			var made []backends.Record
			for _, mailbox := range mailboxes {
				made = append(made, r.create(terms, mailbox))
			}
			running := r.claim(terms, mailboxes[0], 1)[0]
			r.do(r.client, "config", "set", "maxmemory-policy", "noeviction", "maxmemory", "1")

			_, err := r.b.Create(t.Context(), question(terms, "new"))
			if !redis.HasErrorPrefix(err, "OOM") {
				t.Errorf("Create: got %v, want an error that says OOM", err)
			}
			r.extend(terms, running)
			r.end(terms, running)
			claimed := r.claim(terms, mailboxes[1], 1)[0]
			r.extend(terms, claimed)
			r.end(terms, claimed)
			r.end(terms, made[2])
			for _, rec := range made {
				if got := r.get("s", rec.ID); got.Status != backends.StatusCompleted {
					t.Errorf("%s: got %s, want it completed", rec.Mailbox, got.Status)
				}
			}
			if r.has(terms, "new") || r.has(terms, mailboxes[2]) {
				t.Error("something can be claimed, want no trace of what was refused or ended")
			}
			r.do(r.client, "config", "set", "maxmemory", "0")
			r.lifecycle(terms, "new")
		})
	}
}

func (r *rig) has(terms backends.Terms, mailbox string) bool {
	r.Helper()
	has, err := r.b.HasPending(r.Context(), terms.Store, mailbox)
	if err != nil {
		r.Fatalf("HasPending: %v", err)
	}
	return has
}

func TestFaultServerCannotWriteToItsDisk(t *testing.T) {
	server := redistest.Start(t, "--save", "3600 1000000")
	r := newRig(t, server.Client(t))
	terms := lasting("s")
	terms.Exclusive, terms.MaxAttempts = true, 3
	r.create(terms, "claimed before")
	running := r.claim(terms, "claimed before", 1)[0]
	waiting := r.create(terms, "not claimed")
	r.large = true
	r.create(terms, "ended")
	ended := r.claim(terms, "ended", 1)[0]
	r.end(terms, ended)
	if err := os.RemoveAll(server.Dir); err != nil {
		t.Fatal(err)
	}
	r.do(r.client, "bgsave")
	r.until("saving has failed", func() bool {
		return strings.Contains(r.client.Info(t.Context(), "persistence").Val(), "rdb_last_bgsave_status:err")
	})

	before := r.dump()
	for _, step := range r.writes(terms, running, waiting.Mailbox) {
		if err := step.call(t.Context()); !redis.HasErrorPrefix(err, "MISCONF") {
			t.Errorf("%s: got %v, want MISCONF", step.name, err)
		}
	}
	if !maps.Equal(r.dump(), before) {
		t.Error("what was refused has left a trace")
	}
	if got := r.get("s", running.ID); got.Status != backends.StatusRunning || !r.has(terms, waiting.Mailbox) || r.has(terms, "empty") {
		t.Error("reading does not go on")
	}
	if _, err := r.b.End(t.Context(), r.report(terms, ended.ID, ended.Mailbox, 1)); !errors.Is(err, backends.ErrEnded) {
		t.Errorf("a large report, repeated: got %v, want ErrEnded", err)
	}
	if got := r.claim(terms, "empty", 1); len(got) != 0 {
		t.Errorf("an empty mailbox gave %v", got)
	}
	r.do(r.client, "config", "set", "stop-writes-on-bgsave-error", "no")
	r.end(terms, running)
	r.end(terms, r.claim(terms, waiting.Mailbox, 1)[0])
}

// writes are the calls that store something: for a running request, and for a mailbox where one
// waits.
func (r *rig) writes(terms backends.Terms, running backends.Record, waiting string) []step {
	create, end := question(terms, "new"), r.report(terms, running.ID, running.Mailbox, running.Attempt)
	extend := backends.Extend{Terms: terms, ID: running.ID, Attempt: running.Attempt}
	return []step{
		{"Create", func(ctx context.Context) error { _, err := r.b.Create(ctx, create); return err }},
		{"Claim", func(ctx context.Context) error { _, err := r.b.Claim(ctx, heartbeat(waiting, 1, terms)); return err }},
		{"Extend", func(ctx context.Context) error { _, err := r.b.Extend(ctx, extend); return err }},
		{"End", func(ctx context.Context) error { _, err := r.b.End(ctx, end); return err }},
	}
}

func TestFaultForeignScriptBlocksTheServer(t *testing.T) {
	server := redistest.Start(t, "--lua-time-limit", "1")
	r := newRig(t, server.Client(t))
	blocking := runForeign(t, server, "while true do end")
	r.until("the server is busy", func() bool { return redis.HasErrorPrefix(r.client.Ping(t.Context()).Err(), "BUSY") })
	for _, step := range r.steps(question(lasting("s"), box)) {
		if err := step.call(t.Context()); !redis.HasErrorPrefix(err, "BUSY") {
			t.Errorf("%s: got %v, want BUSY", step.name, err)
		}
	}
	r.do(r.client, "script", "kill")
	blocking.Wait()
	r.until("the server is no longer busy", func() bool { return r.client.Ping(t.Context()).Err() == nil })
	r.lifecycle(lasting("s"), box)
}

// At first, five seconds by default, the server does not even say that it is busy.
func TestFaultForeignScriptSilencesTheServer(t *testing.T) {
	server := redistest.Start(t, "--lua-time-limit", "3600000")
	r := newRig(t, server.Client(t))
	r.lifecycle(lasting("s"), "before")
	blocking := runForeign(t, server, "while true do end")
	ping := step{"PING", func(ctx context.Context) error { return r.client.Ping(ctx).Err() }}
	r.until("the server is silent", func() bool { return r.checkInTime(ping) != nil })
	for _, step := range r.steps(question(lasting("s"), box)) {
		if err := r.checkInTime(step); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want the end of its time", step.name, err)
		}
	}
	server.Restart()
	blocking.Wait()
	r.lifecycle(lasting("s"), "after")
}

// runForeign has the server run somebody else's script.
func runForeign(t *testing.T, server *redistest.Server, script string) *sync.WaitGroup {
	foreign := server.ClientWith(t, redis.Options{MaxRetries: -1, ReadTimeout: -1})
	var running sync.WaitGroup
	running.Go(func() { foreign.Eval(context.Background(), script, nil) })
	return &running
}

// checkInTime makes a call with a context of 100 ms and checks that it ends by then, with some air
// for a machine that is busy: less than go-redis takes that does not look at contexts.
func (r *rig) checkInTime(s step) error {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := s.call(ctx)
	if took := time.Since(start); took > 1500*time.Millisecond {
		r.Errorf("%s kept a context of 100 ms for %v", s.name, took)
	}
	return err
}

func TestFaultServerStalls(t *testing.T) {
	server := redistest.Start(t)
	for name, mode := range pipelining {
		t.Run(name, func(t *testing.T) { newPipeliningRig(t, server.Client(t), mode).checkStall(server) })
	}
}

func TestFaultPoolIsExhausted(t *testing.T) {
	server := redistest.Start(t)
	client := server.ClientWith(t, redis.Options{PoolSize: 1})
	only := client.Conn()
	if err := only.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { only.Close() })
	for _, step := range newRig(t, client).steps(question(lasting("s"), box))[:2] {
		if err := newRig(t, client).checkInTime(step); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want the end of its time", step.name, err)
		}
	}
}

// checkStall freezes the server, checks that calls end in time, and that others work when it goes
// on.
func (r *rig) checkStall(server *redistest.Server) {
	r.Helper()
	r.lifecycle(lasting("s"), "before")
	server.Stop()
	for _, step := range r.steps(question(lasting("s"), box)) {
		if err := r.checkInTime(step); !errors.Is(err, context.DeadlineExceeded) {
			r.Errorf("%s: got %v, want the end of its time", step.name, err)
		}
	}
	server.Continue()
	r.lifecycle(lasting("s"), "after")
}

func TestFaultKeysOfAnotherType(t *testing.T) {
	plain := lasting("s")
	full := plain
	full.Exclusive, full.MaxAttempts, full.MaxPending = true, 3, 10
	for name, terms := range map[string]backends.Terms{"plain": plain, "exclusive with several attempts": full,
		"large answers": full} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, redistest.Start(t).Client(t))
			r.large = name == "large answers"
			c := question(terms, box)
			for _, step := range r.steps(c) {
				before, refused := r.dump(), 0
				for key := range r.keys(c) {
					r.reset(before)
					r.plant(key)
					planted := r.dump()
					err := step.call(t.Context())
					if err == nil {
						continue
					}
					refused++
					if !strings.Contains(err.Error(), "WRONGTYPE") {
						t.Errorf("%s with a list at %s: got %v, want WRONGTYPE", step.name, key, err)
					}
					if !maps.Equal(r.dump(), planted) {
						t.Errorf("%s with a list at %s failed, and has left a trace", step.name, key)
					}
				}
				if refused == 0 {
					t.Errorf("%s does not mind any key of another type", step.name)
				}
				r.reset(before)
				if err := step.call(t.Context()); err != nil {
					t.Fatalf("%s: %v", step.name, err)
				}
			}
		})
	}
}

// keys returns every key that a request's life touches.
func (r *rig) keys(c backends.Create) map[string]bool {
	r.Helper()
	client, recorder := recordingClient(r.T)
	dry := &rig{T: r.T, b: newBackend(r.T, client, &goredis.Options{Prefix: r.prefix})}
	for _, step := range dry.steps(c) {
		_ = step.call(r.Context()) // nothing answers
	}
	keys := map[string]bool{}
	for _, key := range recorder.keys {
		keys[key] = true
	}
	return keys
}

// plant puts a list where something else belongs.
func (r *rig) plant(key string) {
	r.Helper()
	r.do(r.client, "del", key)
	r.do(r.client, "rpush", key, "planted")
}

func TestFaultServerClockJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{"an hour back": -time.Hour, "a minute back": -time.Minute,
		"a minute forth": time.Minute} {
		t.Run(name, func(t *testing.T) {
			m, client := redistest.Mini(t)
			now := time.Now()
			m.SetTime(now)
			r := newRig(t, client)
			terms := lasting("s")
			terms.Exclusive, terms.MaxAttempts = true, 3
			ended := r.create(terms, "ended")
			r.end(terms, r.claim(terms, "ended", 1)[0])
			final := r.get("s", ended.ID)
			r.create(terms, "running")
			running := r.claim(terms, "running", 1)[0]
			waiting := r.create(terms, "waiting")

			m.SetTime(now.Add(jump))

			if got := r.get("s", ended.ID); got.Status != final.Status || !got.UpdatedAt.Equal(final.UpdatedAt) {
				t.Errorf("the ended request is %s since %v, was %s since %v", got.Status, got.UpdatedAt, final.Status, final.UpdatedAt)
			}
			if _, err := r.b.End(t.Context(), report(terms, ended.ID, 1)); !errors.Is(err, backends.ErrEnded) {
				t.Errorf("End of the ended request: got %v, want ErrEnded", err)
			}
			r.extend(terms, running)
			r.end(terms, running)
			if !r.has(terms, "waiting") {
				t.Error("the pending request cannot be claimed")
			}
			if got := r.claim(terms, "waiting", 1); len(got) != 1 || got[0].ID != waiting.ID {
				t.Fatalf("got %v, want the pending request", got)
			}
			r.lifecycle(terms, "ended")

			m.SetTime(now)
			if got := r.get("s", waiting.ID); got.Status != backends.StatusRunning {
				t.Errorf("back at the right time the running request reads as %s", got.Status)
			}
		})
	}
}

func TestFaultNewRequestsAreClaimedAfterTheClockWasWrong(t *testing.T) {
	m, client := redistest.Mini(t)
	now := time.Now()
	r := newRig(t, client)
	terms := lasting("s")
	m.SetTime(now.Add(24 * time.Hour))
	early := r.create(terms, box)
	m.SetTime(now)
	late := r.create(terms, box)
	got := map[string]bool{}
	for _, rec := range r.claim(terms, box, 10) {
		got[rec.ID] = true
	}
	if !got[early.ID] || !got[late.ID] || len(got) != 2 {
		t.Errorf("claimed %v, want the request from before and after the clock was set right", got)
	}
}

func TestFaultRecordsThatCannotBeRead(t *testing.T) {
	for name, spoil := range map[string]func(record string) string{
		"empty":                  func(string) string { return "" },
		"cut in its head":        func(record string) string { return record[:20] },
		"cut in its mailbox":     func(record string) string { return record[:40] },
		"cut behind it":          func(record string) string { return record[:47] },
		"of another version":     func(record string) string { return "2" + record[1:] },
		"in an unknown state":    func(record string) string { return record[:1] + "z" + record[2:] },
		"with a broken deadline": func(record string) string { return record[:10] + "x" + record[11:] },
		"with a broken creation": func(record string) string { return record[:25] + "x" + record[26:] },
		"garbage":                func(record string) string { return strings.Repeat("\xff\x00{}", len(record)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, redistest.Start(t).Client(t))
			terms := lasting("s")
			c := question(terms, box)
			if _, err := r.b.Create(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			r.spoil(spoil)
			other := r.create(terms, box)

			claimed, err := r.b.Claim(t.Context(), heartbeat(box, 10, terms, lasting("another")))
			if err != nil || len(claimed[0].Records) != 1 || claimed[0].Records[0].ID != other.ID {
				t.Fatalf("Claim: got %v, %v, want the other request", claimed, err)
			}
			checkCorrupt(t, "Claim", errors.Join(claimed[0].Errs...), c.ID)
			for _, i := range []int{0, 3, 4, 6} { // Create again, Extend, Get and End
				step := r.steps(c)[i]
				checkCorrupt(t, step.name, step.call(t.Context()), c.ID)
			}
			r.end(terms, claimed[0].Records[0])
			r.lifecycle(terms, "another mailbox")
		})
	}
}

// spoil changes the only record of the server.
func (r *rig) spoil(change func(record string) string) {
	r.Helper()
	for _, key := range r.client.Keys(r.Context(), r.prefix+"*").Val() {
		if record, err := r.client.Get(r.Context(), key).Result(); err == nil {
			r.do(r.client, "set", key, change(record), "keepttl")
		}
	}
}

func checkCorrupt(t *testing.T, call string, err error, id string) {
	t.Helper()
	var corrupt *backends.CorruptError
	if !errors.As(err, &corrupt) || corrupt.ID != id {
		t.Errorf("%s: got %v, want a CorruptError of %s", call, err, id)
	}
}
