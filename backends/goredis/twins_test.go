package goredis_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/effort"
	"github.com/pendingq/pendingq/internal/redistest"
)

// twins is a Backend on miniredis and a Backend in memory, on one fake clock. Each call goes to
// both, and both have to give the same result. The terms differ from call to call.
type twins struct {
	*rapid.T
	ctx    context.Context
	mini   *miniredis.Miniredis
	client *redis.Client
	sent   *sent
	memory *memory.Backend
	redis  *goredis.Backend
	limit  int // the limit of every claim: 1 or all, since equally old requests come in any order

	start time.Time
	now   int // since start, in units of eight milliseconds
	calls int
	ids   []backends.Create
	old   []repeat
}

// repeat is a call that may be repeated: as a call to memory, and as its commands to the server.
type repeat struct {
	name     string
	call     func(backends.Backend) string
	commands [][][]any
}

// sent is a hook that records a client's pipelines. A single command is a pipeline of one.
type sent struct {
	passing
	commands [][][]any
}

func (s *sent) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		s.commands = append(s.commands, [][]any{cmd.Args()})
		return next(ctx, cmd)
	}
}

func (s *sent) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		var pipe [][]any
		for _, cmd := range cmds {
			pipe = append(pipe, cmd.Args())
		}
		s.commands = append(s.commands, pipe)
		return next(ctx, cmds)
	}
}

func TestMixedTermsAndRepeatsAgreeWithMemory(t *testing.T) {
	parallel(t)
	effort.Rapid()
	for name, limit := range map[string]int{"one at a time": 1, "all at once": 100} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mini, client := redistest.Mini(t)
				hook := &sent{}
				client.AddHook(hook)
				b := newBackend(t, client, nil)
				rapid.Check(inBubble{t}, func(rt *rapid.T) {
					mini.FlushAll()
					time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
					w := &twins{T: rt, start: time.Now(), ctx: t.Context(), mini: mini,
						client: client, sent: hook, limit: limit, memory: memory.New(), redis: b}
					rt.Repeat(w.actions())
				})
			})
		})
	}
}

func (w *twins) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){"create": w.create, "claim": w.claim, "extend": w.extend,
		"cancel": w.cancel, "end": w.end, "get": w.get, "repeat": w.repeat, "wait": w.wait,
		"": w.check}
}

// terms draws terms. A call is always in the first of eight milliseconds. The server may keep a
// record or a memo for a millisecond longer than memory does. That is never the first of eight.
func (w *twins) terms(store string) backends.Terms {
	ms := func(name string, more int) time.Duration {
		eights := rapid.SampledFrom([]int{1, 2, 6, 25}).Draw(w.T, name)
		return time.Duration(8*eights+more) * time.Millisecond
	}
	pending := 48 * time.Millisecond
	if w.limit > 1 { // else see TestExpiredLeasesOfMixedTermsAreClaimedByTheirDeadlines
		pending = ms("pending", 0)
	}
	return backends.Terms{Store: store, PendingTimeout: pending,
		RunningTimeout: ms("running", 2), Retention: ms("retention", 3),
		MaxAttempts: rapid.IntRange(1, 3).Draw(w.T, "attempts"),
		Exclusive:   rapid.IntRange(0, 4).Draw(w.T, "exclusive") == 0,
		MaxPending:  rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(w.T, "most")}
}

// pause draws a duration for a grace or for a release, or none.
func (w *twins) pause(name string) time.Duration {
	eights := rapid.SampledFrom([]int{0, 1, 6}).Draw(w.T, name)
	if eights == 0 {
		return 0
	}
	return time.Duration(8*eights+1) * time.Millisecond
}

func (w *twins) store() string { return rapid.SampledFrom([]string{"s", "s:s"}).Draw(w.T, "store") }

func (w *twins) payload() []byte {
	size := rapid.SampledFrom([]int{1, 5000}).Draw(w.T, "size")
	return bytes.Repeat([]byte(fmt.Sprintf("%04d", w.calls)), size)
}

// tick gives the next call its own microsecond, so no two calls set equal deadlines.
func (w *twins) tick() {
	w.calls++
	w.pass(1)
}

// pass lets this many times eight milliseconds pass.
func (w *twins) pass(eights int) {
	w.now += eights
	since := time.Duration(w.now)*8*time.Millisecond + time.Duration(w.calls)*time.Microsecond
	time.Sleep(time.Until(w.start.Add(since)))
}

func (w *twins) wait(*rapid.T) {
	w.pass(rapid.SampledFrom([]int{1, 3, 10, 40}).Draw(w.T, "eights"))
}

// both makes a call to both backends and compares the results.
func (w *twins) both(name string, call func(backends.Backend) string) {
	w.tick()
	w.sent.commands = nil
	want, got := call(w.memory), call(w.redis)
	if got != want {
		w.Fatalf("%s:\n got %s\nwant %s", name, got, want)
	}
	w.old = append(w.old, repeat{name, call, w.sent.commands})
}

// repeat repeats one of the latest calls.
func (w *twins) repeat(*rapid.T) {
	if len(w.old) == 0 {
		w.Skip("nothing to repeat")
	}
	last := max(0, len(w.old)-8)
	r := w.old[last+rapid.IntRange(0, len(w.old)-last-1).Draw(w.T, "which")]
	w.tick()
	w.Logf("again: %s", r.name)
	r.call(w.memory)
	for _, pipe := range r.commands {
		_, _ = w.client.Pipelined(w.ctx, func(p redis.Pipeliner) error {
			for _, words := range pipe {
				p.Do(w.ctx, words...)
			}
			return nil
		})
	}
}

func (w *twins) create(*rapid.T) {
	mailbox := rapid.SampledFrom([]string{box, "a\nb/q/"}).Draw(w.T, "mailbox")
	c := question(w.terms(w.store()), mailbox)
	c.Payload = w.payload()
	if rapid.IntRange(0, 2).Draw(w.T, "headers") == 0 {
		c.Headers = map[string]string{"trace": fmt.Sprint("\x00<é>", w.calls), "b": ""}
	}
	if len(w.ids) > 0 && rapid.IntRange(0, 3).Draw(w.T, "again") == 0 {
		before := w.any()
		c.ID, c.Mailbox, c.Store = before.ID, before.Mailbox, before.Store
	}
	w.ids = append(w.ids, c)
	w.both(fmt.Sprintf("create %+v", c.Terms), func(b backends.Backend) string {
		return shape(b.Create(w.ctx, c))
	})
}

func (w *twins) any() backends.Create {
	if len(w.ids) == 0 {
		w.Skip("no request")
	}
	last := max(0, len(w.ids)-6)
	return w.ids[last+rapid.IntRange(0, len(w.ids)-last-1).Draw(w.T, "request")]
}

func (w *twins) claim(*rapid.T) {
	c := heartbeat(w.any().Mailbox, w.limit, w.terms("s"))
	if rapid.Bool().Draw(w.T, "two stores") {
		c.From = append(c.From, backends.From{Terms: w.terms("s:s"), Limit: w.limit})
	}
	w.both(fmt.Sprintf("claim %+v", c.From), func(b backends.Backend) string {
		claimed, err := b.Claim(w.ctx, c)
		text := fmt.Sprint(err)
		for _, from := range claimed {
			var records []string
			for _, rec := range from.Records {
				records = append(records, shape(rec, nil))
			}
			slices.Sort(records) // equally old requests come in any order
			text += fmt.Sprintf("\n%v %v", strings.Join(records, "\n"), from.Errs)
		}
		return text
	})
}

func (w *twins) extend(*rapid.T) {
	c := w.any()
	attempt := rapid.IntRange(1, 3).Draw(w.T, "attempt")
	e := backends.Extend{Terms: w.terms(c.Store), ID: c.ID, Attempt: attempt, Mailbox: c.Mailbox}
	if rapid.IntRange(0, 2).Draw(w.T, "progress") == 0 {
		e.Codec, e.Payload = "progress", w.payload()
	}
	if rapid.IntRange(0, 2).Draw(w.T, "release") == 0 {
		e.Release = true
		e.After = w.pause("after")
	}
	name := fmt.Sprintf("extend %+v by %d, %s, %v %v",
		e.Terms, e.Attempt, e.Codec, e.Release, e.After)
	w.both(name, func(b backends.Backend) string {
		lease, err := b.Extend(w.ctx, e)
		if told := toldEnded(err); told != "" {
			return told
		}
		return fmt.Sprint(lease, err)
	})
}

func (w *twins) cancel(*rapid.T) {
	c := w.any()
	x := gaveUp(w.terms(c.Store), c.ID)
	x.Mailbox, x.Error = c.Mailbox, fmt.Sprint("why ", w.calls)
	x.Grace = w.pause("grace")
	w.both(fmt.Sprintf("cancel %+v, grace %v", x.Terms, x.Grace), func(b backends.Backend) string {
		rec, err := b.Cancel(w.ctx, x)
		if told := toldEnded(err); told != "" {
			return told
		}
		return shape(rec, err)
	})
}

// toldEnded is the shape of the record in an EndedError, or "".
func toldEnded(err error) string {
	if ended, _ := err.(*backends.EndedError); ended != nil {
		return "ended " + shape(ended.Record, nil)
	}
	return ""
}

func (w *twins) end(*rapid.T) {
	c := w.any()
	e := report(w.terms(c.Store), c.ID, rapid.IntRange(0, 3).Draw(w.T, "attempt"))
	e.Mailbox, e.Payload, e.Error = c.Mailbox, w.payload(), fmt.Sprint("why ", w.calls)
	w.both(fmt.Sprintf("end %+v by %d", e.Terms, e.Attempt), func(b backends.Backend) string {
		rec, err := b.End(w.ctx, e)
		if told := toldEnded(err); told != "" {
			return told
		}
		return shape(rec, err)
	})
}

func (w *twins) get(*rapid.T) {
	c := w.any()
	w.both("get", func(b backends.Backend) string { return shape(b.Get(w.ctx, c.Store, c.ID)) })
	w.both("has", func(b backends.Backend) string {
		has, err := b.HasPending(w.ctx, c.Store, c.Mailbox)
		return fmt.Sprint(has, err)
	})
}

// check checks that every key expires, and that each large payload lives as long as its record.
func (w *twins) check(*rapid.T) {
	lives := map[string]time.Duration{}
	for _, key := range w.mini.Keys() {
		lives[key] = w.client.PTTL(w.ctx, key).Val()
		if lives[key] == -1 {
			w.Fatalf("%q never expires", key)
		}
	}
	for key, left := range lives {
		start, _, isRecord := strings.Cut(key, "/r/")
		text, err := w.mini.Get(key)
		if isRecord && err == nil && strings.ContainsRune("13", rune(text[37])) {
			payload := start + "/p/" + text[len(text)-26:]
			if lives[payload] != left {
				w.Fatalf("%q lives for %v, its payload for %v", key, left, lives[payload])
			}
			delete(lives, payload)
		}
	}
	for key, left := range lives {
		if strings.Contains(key, "/p/") && left > 10*time.Second {
			w.Fatalf("%q belongs to no record and lives for %v", key, left)
		}
	}
}
