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
	parallel(t)
	server := redistest.Start(t)
	for name, mode := range pipelining {
		t.Run(name, func(t *testing.T) {
			liveWithoutScripts(newPipeliningRig(t, server.Client(t), mode), server)
		})
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

// liveWithoutScripts makes concurrent calls while the server's scripts are flushed again and again.
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
		r.Error("the server always had the scripts")
	}
}

// flushScripts flushes the server's scripts in a loop until stop is called.
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

// missingScripts returns the number of NOSCRIPT errors of the server.
func (r *rig) missingScripts() string {
	for line := range strings.Lines(r.client.Info(r.Context(), "errorstats").Val()) {
		if count, ok := strings.CutPrefix(line, "errorstat_NOSCRIPT:count="); ok {
			return count
		}
	}
	return "0"
}

// live makes all calls for n requests of a mailbox, one request after the other.
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

// With appendfsync always, the file has every acknowledged write. With everysec and a slow disk,
// the writes of more than a second may be missing.
func TestFaultServerIsKilledAndReadsItsFileAgain(t *testing.T) {
	parallel(t)
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
		for _, step := range r.steps(question(terms, box))[3:] { // these need the request
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
	parallel(t)
	plain := lasting("s")
	retried, exclusive := plain, plain
	retried.MaxAttempts, exclusive.Exclusive = 3, true
	for name, terms := range map[string]backends.Terms{"plain": plain, "large answers": plain,
		"several attempts": retried, "exclusive": exclusive} {
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
				t.Errorf("Create: got %v, want OOM", err)
			}
			r.extend(terms, running)
			r.end(terms, running)
			claimed := r.claim(terms, mailboxes[1], 1)[0]
			r.extend(terms, claimed)
			r.end(terms, claimed)
			r.end(terms, made[2])
			for _, rec := range made {
				if got := r.get("s", rec.ID); got.Status != backends.StatusCompleted {
					t.Errorf("%s: got %s, want completed", rec.Mailbox, got.Status)
				}
			}
			if r.has(terms, "new") || r.has(terms, mailboxes[2]) {
				t.Error("a refused or an ended request can be claimed")
			}
			r.do(r.client, "config", "set", "maxmemory", "0")
			r.lifecycle(terms, "new")
		})
	}
}

func TestFaultMemoryIsFullAndRequestsAreCancelled(t *testing.T) {
	r := newRig(t, redistest.Start(t).Client(t))
	terms := lasting("s")
	for _, payload := range []string{"question", strings.Repeat("question", 1000)} {
		for _, grace := range []time.Duration{0, time.Minute} {
			for _, claimed := range []bool{false, true} {
				c := question(terms, box)
				c.Payload = []byte(payload)
				if _, err := r.b.Create(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				if claimed {
					r.claim(terms, box, 1)
				}
				r.do(r.client, "config", "set", "maxmemory", "1")
				cancel := gaveUp(terms, c.ID)
				cancel.Grace = grace
				rec, err := r.b.Cancel(t.Context(), cancel)
				if err != nil || rec.Ended() == (claimed && grace > 0) {
					t.Errorf("claimed %v, grace %v: got %s, %v", claimed, grace, rec.Status, err)
				}
				r.do(r.client, "config", "set", "maxmemory", "0")
			}
		}
	}
}

// between is a hook that splits a pipeline after its first command. It calls then between the two
// parts.
type between struct {
	passing
	then func()
}

func (b between) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		first := next(ctx, cmds[:1])
		b.then()
		return errors.Join(first, next(ctx, cmds[1:]))
	}
}

// The payload of a request fills the memory, so the script that follows is refused.
func TestFaultMemoryIsFullOnceAPayloadIsStaged(t *testing.T) {
	server := redistest.Start(t)
	r := newRig(t, server.Client(t))
	r.lifecycle(lasting("s"), "before") // the server knows the scripts
	before, c := r.dump(), large(lasting("s"), box)
	client := server.Client(t)
	client.AddHook(between{then: func() { r.do(r.client, "config", "set", "maxmemory", "1") }})
	b := newBackend(t, client, &goredis.Options{Prefix: r.prefix})
	for range 2 {
		if _, err := b.Create(t.Context(), c); !redis.HasErrorPrefix(err, "OOM") {
			t.Errorf("Create: got %v, want OOM", err)
		}
		if !maps.Equal(r.dump(), before) {
			t.Error("a refused Create has changed a key")
		}
		r.do(r.client, "config", "set", "maxmemory", "0")
	}
	if _, err := r.b.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := r.claim(lasting("s"), box, 1); len(got) != 1 || got[0].ID != c.ID {
		t.Errorf("claimed %v, want the request", got)
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
	r.loseDisk(server)

	before := r.dump()
	for _, step := range r.writes(terms, running, waiting.Mailbox) {
		if err := step.call(t.Context()); !redis.HasErrorPrefix(err, "MISCONF") {
			t.Errorf("%s: got %v, want MISCONF", step.name, err)
		}
	}
	if !maps.Equal(r.dump(), before) {
		t.Error("a refused call has changed a key")
	}
	if got := r.get("s", running.ID); got.Status != backends.StatusRunning {
		t.Errorf("Get: got %s, want running", got.Status)
	}
	if !r.has(terms, waiting.Mailbox) || r.has(terms, "empty") {
		t.Error("HasPending is wrong")
	}
	_, err := r.b.End(t.Context(), r.report(terms, ended.ID, ended.Mailbox, 1))
	if !errors.Is(err, backends.ErrEnded) {
		t.Errorf("a repeated large report: got %v, want ErrEnded", err)
	}
	if got := r.claim(terms, "empty", 1); len(got) != 0 {
		t.Errorf("an empty mailbox gave %v", got)
	}
	r.do(r.client, "config", "set", "stop-writes-on-bgsave-error", "no")
	r.end(terms, running)
	r.end(terms, r.claim(terms, waiting.Mailbox, 1)[0])
}

// loseDisk removes the server's folder, and waits until it has failed to save its data.
func (r *rig) loseDisk(server *redistest.Server) {
	r.Helper()
	if err := os.RemoveAll(server.Dir); err != nil {
		r.Fatal(err)
	}
	r.do(r.client, "bgsave")
	r.until("saving has failed", func() bool {
		info := r.client.Info(r.Context(), "persistence").Val()
		return strings.Contains(info, "rdb_last_bgsave_status:err")
	})
}

// writes are calls that write, for a running request and for a mailbox with a waiting request.
func (r *rig) writes(terms backends.Terms, running backends.Record, waiting string) []step {
	extend := backends.Extend{Terms: terms, ID: running.ID, Attempt: running.Attempt}
	end := r.report(terms, running.ID, running.Mailbox, running.Attempt)
	return []step{
		{"Create", call(r.b.Create, question(terms, "new"))},
		{"Claim", call(r.b.Claim, heartbeat(waiting, 1, terms))},
		{"Extend", call(r.b.Extend, extend)},
		{"End", call(r.b.End, end)},
	}
}
