package backendtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/calls"
)

// Machine makes random calls, one after the other. It makes each call to the backend and to
// [backends/memory], and compares the results, including errors. So it tests the rules in random
// combinations. [Histories] tests a backend with many concurrent callers.
//
//	func TestMachine(t *testing.T) {
//		backendtest.Machine(t, open, backendtest.InBubble())
//	}
//
// With [InBubble] both backends share a fake clock. Leases expire, requests time out and records
// disappear. The times in the results have to be equal to the microsecond, so calls must take no
// fake time. The backend may keep an expired record or claim for 2 ms longer than memory does.
//
// Without InBubble nothing expires, and Machine compares only the differences between times. Then
// the backend's clock and speed do not matter.
//
// Machine calls open once. The flag -rapid.checks is the number of sequences, 100 by default. Each
// sequence has about 30 calls.
//
// # How to read a failure
//
// The failure shows the shortest failing sequence of calls, with all drawn values. At its end are
// the result of memory ("want") and the result of the backend ("got"). The failure also names a
// file. The flag -rapid.failfile with this file repeats the sequence.
func Machine(t *testing.T, open func(t *testing.T) backends.Backend, opts ...Option) {
	t.Helper()
	var conf config
	for _, opt := range opts {
		opt(&conf)
	}
	if !conf.bubble {
		runMachine(t, open(t), false)
		return
	}
	synctest.Test(t, func(t *testing.T) { runMachine(onlyTB{t}, open(t), true) })
}

// onlyTB hides methods of a *testing.T. Rapid would call them, but they do not work in a bubble.
type onlyTB struct{ testing.TB }

// runMachine compares a Backend with memory. Exact compares times to the microsecond.
func runMachine(t testing.TB, b backends.Backend, exact bool) {
	sequence := 0
	reference := memory.New()
	rapid.Check(t, func(rt *rapid.T) {
		sequence++
		m := &machine{ctx: t.Context(), rt: rt, b: [2]backends.Backend{reference, b}, exact: exact,
			stores: machineStores(), pause: 2*tick + tick/4}
		for i := range 2 { // each sequence has mailboxes of its own
			m.boxes = append(m.boxes, fmt.Sprintf("runtime-%d of sequence %d", i, sequence))
		}
		if !exact {
			rt.Repeat(m.actions())
			return
		}
		align()
		rt.Repeat(m.withTime())
	})
}

// machine is two backends and the calls that it has made to both.
type machine struct {
	ctx    context.Context
	rt     *rapid.T
	b      [2]backends.Backend // memory, then the tested backend
	exact  bool
	stores []calls.Store
	boxes  []string
	pause  time.Duration // a grace, or the pause of a release; its end meets no other deadline

	ids     []calls.Get
	claims  []backends.Claim
	changes []any // Extends and Cancels
	made    int
}

// tick is the step of fake time. A call that sets a deadline comes at a multiple of a tick of its
// own, so no two requests have the same last deadline. A lease does not last whole ticks, so it
// never expires at the time of such a call. Retention is not a whole number of ticks either, since
// Redis may keep a record two milliseconds longer than memory does.
const tick = 10 * time.Millisecond

func machineStores() []calls.Store {
	terms := func(name string, running time.Duration, attempts int) calls.Store {
		return calls.Store{Store: name, MaxAttempts: attempts, PendingTimeout: 20 * tick,
			RunningTimeout: running*tick + tick/2, Retention: 15*tick + tick/4}
	}
	plain, retried, capped := terms("plain", 30, 1), terms("retried", 3, 3), terms("capped", 7, 2)
	exclusive, both := terms("exclusive", 2, 1), terms("both", 4, 3)
	capped.MaxPending, both.MaxPending = 2, 1
	exclusive.Exclusive, both.Exclusive = true, true
	return []calls.Store{plain, retried, capped, exclusive, both}
}

func (m *machine) actions() map[string]func(*rapid.T) {
	if !m.exact {
		for i := range m.stores { // real time passes, but never reaches these timeouts
			s := &m.stores[i]
			s.PendingTimeout, s.RunningTimeout, s.Retention = time.Hour, 2*time.Hour, 4*time.Hour
		}
		m.pause = time.Hour / 2
	}
	return map[string]func(*rapid.T){"create": m.create, "create again": m.createAgain,
		"create beside": m.createBeside, "claim": m.claim, "claim again": m.claimAgain,
		"extend": m.extend, "cancel": m.cancel, "change again": m.changeAgain, "end": m.end,
		"get": m.get, "look": m.look}
}

func (m *machine) withTime() map[string]func(*rapid.T) {
	actions := m.actions()
	actions["let time pass"] = func(rt *rapid.T) {
		calls.Pass(tick * time.Duration(rapid.IntRange(1, 30).Draw(rt, "ticks")))
	}
	actions["reach a deadline"] = m.reachDeadline
	return actions
}

// both makes a call to both backends and compares the results. It returns the result of memory.
func (m *machine) both(op any) *calls.Call { return m.compare(op, func(*calls.Call) {}) }

// compare makes a call to both backends. Prepare changes each result before the comparison. Compare
// returns the result of memory.
func (m *machine) compare(op any, prepare func(*calls.Call)) *calls.Call {
	var made [2]*calls.Call
	var shapes [2]string
	for i, b := range m.b {
		made[i] = &calls.Call{Op: op}
		made[i].Perform(m.ctx, b)
		prepare(made[i])
		shapes[i] = m.shape(made[i])
	}
	if shapes[0] != shapes[1] {
		m.rt.Fatalf("%T %+v:\nwant %s\ngot  %s\nerror %v",
			op, op, shapes[0], shapes[1], made[1].Err)
	}
	return made[0]
}

// shape returns the result of a call as text, with times if the comparison is exact.
func (m *machine) shape(c *calls.Call) string {
	if !m.exact {
		return c.Shape()
	}
	var text strings.Builder
	fmt.Fprintln(&text, c.Shape(), c.Lease, exactly(c.Rec))
	for _, from := range c.Claimed {
		for _, rec := range from.Records {
			fmt.Fprintln(&text, exactly(rec))
		}
	}
	return text.String()
}

func exactly(r backends.Record) string {
	return fmt.Sprint(r.CreatedAt, r.UpdatedAt, r.StartedAt, r.Deadline, r.LastDeadline, r.ReadAt)
}

// align lets time pass until the next whole tick.
func align() { calls.Pass(tick - time.Duration(time.Now().UnixNano())%tick) }

// tick gives the next call a time of its own.
func (m *machine) tick() {
	if m.exact {
		calls.Pass(tick)
	}
}

func (m *machine) store(rt *rapid.T) calls.Store {
	return rapid.SampledFrom(m.stores).Draw(rt, "store")
}
func (m *machine) box(rt *rapid.T) string { return rapid.SampledFrom(m.boxes).Draw(rt, "mailbox") }

func (m *machine) create(rt *rapid.T) {
	m.tick()
	m.made++
	terms, mailbox := m.store(rt), m.box(rt)
	c := terms.Question(fmt.Sprint(m.made))
	if rapid.IntRange(0, 2).Draw(rt, "headers") == 0 {
		c = calls.WithHeaders(c)
	}
	c.Mailbox, c.ID = mailbox, backends.DeriveID(terms.Store, mailbox, fmt.Sprint(m.made))
	m.ids = append(m.ids, terms.Get(c.ID))
	m.both(c)
}

// createBeside creates another request in the mailbox of an earlier one.
func (m *machine) createBeside(rt *rapid.T) {
	r := m.request(rt)
	m.tick()
	m.made++
	c := calls.Store(r.Terms).Question("beside")
	c.Mailbox = m.mailboxOf(r)
	c.ID = backends.DeriveID(r.Store, c.Mailbox, fmt.Sprint(m.made))
	m.ids = append(m.ids, calls.Store(r.Terms).Get(c.ID))
	m.both(c)
}

func (m *machine) mailboxOf(r calls.Get) string {
	return m.boxes[slices.IndexFunc(m.boxes, func(box string) bool {
		return backends.Partition(box) == backends.PartitionOf(r.ID)
	})]
}

func (m *machine) createAgain(rt *rapid.T) {
	m.tick()
	r := m.request(rt)
	c := calls.Store(r.Terms).Question("again")
	c.ID, c.Mailbox = r.ID, m.mailboxOf(r)
	m.both(c)
}

// request draws one of the latest requests. It may no longer exist.
func (m *machine) request(rt *rapid.T) calls.Get {
	if len(m.ids) == 0 {
		rt.Skip("no request")
	}
	return m.ids[max(0, len(m.ids)-1-rapid.IntRange(0, 8).Draw(rt, "which"))]
}

func (m *machine) claim(rt *rapid.T) {
	m.tick()
	c := backends.Claim{Mailbox: m.box(rt)}
	c.ID = fmt.Sprintf("claim %d of %s", len(m.claims), c.Mailbox)
	for _, terms := range m.stores {
		if !rapid.Bool().Draw(rt, "from "+terms.Store) {
			continue
		}
		limit := 1
		if terms.MaxAttempts == 1 || !m.exact { // requests of one claim expire together
			limit = rapid.IntRange(1, 3).Draw(rt, "limit")
		}
		c.From = append(c.From, backends.From{Terms: m.rolledOut(rt, backends.Terms(terms)),
			Limit: limit})
	}
	if len(c.From) == 0 {
		rt.Skip("no store")
	}
	m.claims = append(m.claims, c)
	m.both(c)
}

func (m *machine) claimAgain(rt *rapid.T) {
	if len(m.claims) == 0 {
		rt.Skip("no claim")
	}
	m.tick()
	c := m.claims[max(0, len(m.claims)-1-rapid.IntRange(0, 4).Draw(rt, "which"))]
	c.From = slices.Clone(c.From)
	slices.Reverse(c.From)
	m.compare(c, sortClaimed) // a repeat may return the requests in any order
}

func sortClaimed(c *calls.Call) {
	for _, from := range c.Claimed {
		slices.SortFunc(from.Records, func(a, b backends.Record) int {
			return strings.Compare(a.ID, b.ID)
		})
	}
}

// claimOf draws the attempt and the start of a claim, mostly of the request's latest one. The start
// is unknown if the backends do not agree on it.
func (m *machine) claimOf(rt *rapid.T, r calls.Get) (attempt int, startedAt time.Time) {
	rec := m.both(r).Rec
	attempt = rec.Attempt
	if rapid.IntRange(0, 3).Draw(rt, "right attempt") == 0 {
		attempt = rapid.IntRange(0, 3).Draw(rt, "attempt")
	}
	switch start := rapid.IntRange(0, 7).Draw(rt, "start"); {
	case !m.exact:
	case start == 0: // before 1970 if the request does not exist
		startedAt = rec.CreatedAt.Add(-tick)
	default:
		startedAt = rec.StartedAt
	}
	return attempt, startedAt
}

func (m *machine) extend(rt *rapid.T) {
	m.tick()
	r := m.request(rt)
	e := backends.Extend{Terms: m.rolledOut(rt, r.Terms), ID: r.ID}
	e.Attempt, e.StartedAt = m.claimOf(rt, r)
	switch rapid.IntRange(0, 3).Draw(rt, "progress") {
	case 0:
		e = calls.WithProgress(e)
	case 1:
		e = calls.WithLargeProgress(e)
		e.Mailbox = m.mailboxOf(r)
	}
	if rapid.IntRange(0, 2).Draw(rt, "release") == 0 {
		e.Release, e.After = true, m.aPause(rt)
	}
	m.change(e)
}

// aPause draws a pause, or 0.
func (m *machine) aPause(rt *rapid.T) time.Duration {
	if rapid.Bool().Draw(rt, "pause") {
		return m.pause
	}
	return 0
}

func (m *machine) change(op any) {
	m.changes = append(m.changes, op)
	m.both(op)
}

func (m *machine) changeAgain(rt *rapid.T) {
	if len(m.changes) == 0 {
		rt.Skip("no change")
	}
	m.tick()
	m.both(m.changes[max(0, len(m.changes)-1-rapid.IntRange(0, 4).Draw(rt, "which"))])
}

// rolledOut draws the terms of a node during a rollout. They are t, or now and then newer terms
// that allow only one attempt.
func (m *machine) rolledOut(rt *rapid.T, t backends.Terms) backends.Terms {
	if rapid.IntRange(0, 5).Draw(rt, "node") == 0 {
		t.MaxAttempts = 1
	}
	return t
}

func (m *machine) end(rt *rapid.T) {
	r := m.request(rt)
	attempt, startedAt := m.claimOf(rt, r)
	e := calls.Store(r.Terms).Answer(r.ID, attempt)
	if rapid.IntRange(0, 5).Draw(rt, "small") == 0 {
		e = calls.Store(r.Terms).LargeAnswer(r.ID, attempt)
		e.Mailbox = m.mailboxOf(r)
	}
	e.StartedAt = startedAt
	m.both(e)
}

func (m *machine) cancel(rt *rapid.T) {
	m.tick()
	r := m.request(rt)
	c := calls.Store(r.Terms).GivingUp(r.ID)
	c.Error, c.Grace = fmt.Sprint("gave up ", len(m.changes)), m.aPause(rt)
	m.change(c)
}

func (m *machine) get(rt *rapid.T) { m.both(m.request(rt)) }

func (m *machine) look(rt *rapid.T) {
	m.both(calls.Look{Terms: backends.Terms(m.store(rt)), Mailbox: m.box(rt)})
}

// reachDeadline makes calls exactly at the deadline of a request, and a microsecond later. Then it
// lets time pass until the next whole tick.
func (m *machine) reachDeadline(rt *rapid.T) {
	r := m.request(rt)
	rec := m.both(r).Rec
	wait := rec.Deadline.Sub(rec.ReadAt)
	if wait <= 0 || rec.Ended() {
		rt.Skip("no deadline ahead")
	}
	for _, wait := range []time.Duration{wait, time.Microsecond} {
		calls.Pass(wait)
		m.both(r)
		m.both(calls.Look{Terms: r.Terms, Mailbox: rec.Mailbox})
		switch rapid.IntRange(0, 5).Draw(rt, "there") {
		case 0:
			m.both(calls.Store(r.Terms).Answer(r.ID, rec.Attempt))
		case 1:
			if r.MaxAttempts > 1 {
				break // its lease would expire at a whole tick
			}
			m.both(backends.Extend{Terms: r.Terms, ID: r.ID, Attempt: rec.Attempt})
		case 2:
			m.both(calls.Store(r.Terms).Cancelling(r.ID, m.pause))
		}
	}
	align()
}
