package proof_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/redistest"
)

// The state machine makes the same random calls to memory and to another backend and compares every answer.

// TestMachineOnFakeTime compares memory and miniredis, which then run on one clock: answers agree to the microsecond,
// through lapses, timeouts and expiry, and right at deadlines.
func TestMachineOnFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mini, client := redistest.Mini(t)
		rapid.Check(inBubble{t}, func(rt *rapid.T) {
			mini.FlushAll()
			other, err := goredis.New(client, nil)
			if err != nil {
				rt.Fatal(err)
			}
			align()
			m := newMachine(t, rt, other)
			m.exact = true
			rt.Repeat(m.withTime())
		})
	})
}

// TestMachineOnRedis compares memory and a real Redis, whose times differ: answers agree but for when things were.
func TestMachineOnRedis(t *testing.T) {
	client := redistest.Start(t).Client(t)
	rapid.Check(t, func(rt *rapid.T) {
		other, err := goredis.New(client, &goredis.Options{Prefix: backends.NewID("") + ":"})
		if err != nil {
			rt.Fatal(err)
		}
		rt.Repeat(newMachine(t, rt, other).actions())
	})
}

// inBubble hides from rapid what a test in a bubble does not have.
type inBubble struct{ rapid.TB }

// machine is two backends and what has been asked of them.
type machine struct {
	t      *testing.T
	rt     *rapid.T
	b      [2]backends.Backend
	exact  bool
	stores []backends.Terms
	boxes  []string
	pause  time.Duration // of a grace, and of a release; its end meets no other

	ids     []get
	claims  []backends.Claim
	changes []any // Extends and Cancels
	made    int
}

// tick is the grain of fake time. What happens to requests happens at different multiples of it, so
// that no two requests are equally long claimable. Running timeouts are no multiples, so no lapse
// meets a create. Nor is retention: Redis may keep a record two milliseconds longer than memory.
const tick = 10 * time.Millisecond

func newMachine(t *testing.T, rt *rapid.T, other backends.Backend) *machine {
	return &machine{t: t, rt: rt, b: [2]backends.Backend{memory.New(), other}, stores: machineStores(),
		boxes: []string{box, "runtime-2"}, pause: 2*tick + tick/4}
}

func machineStores() []backends.Terms {
	terms := func(name string, running time.Duration, attempts int) backends.Terms {
		return backends.Terms{Store: name, PendingTimeout: 20 * tick, RunningTimeout: running*tick + tick/2,
			Retention: 15*tick + tick/4, MaxAttempts: attempts}
	}
	plain, retried, capped := terms("plain", 30, 1), terms("retried", 3, 3), terms("capped", 7, 2)
	exclusive, both := terms("exclusive", 2, 1), terms("both", 4, 3)
	capped.MaxPending, both.MaxPending = 2, 1
	exclusive.Exclusive, both.Exclusive = true, true
	return []backends.Terms{plain, retried, capped, exclusive, both}
}

func (m *machine) actions() map[string]func(*rapid.T) {
	if !m.exact {
		for i := range m.stores { // time passes there, too, but too little to matter
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
		pass(tick * time.Duration(rapid.IntRange(1, 30).Draw(rt, "ticks")))
	}
	actions["reach a deadline"] = m.reachDeadline
	return actions
}

// both makes a call to both backends and compares the answers. It returns the first one's.
func (m *machine) both(op any) *call {
	var calls [2]*call
	var shapes [2]string
	for i, b := range m.b {
		calls[i] = &call{op: op}
		calls[i].perform(m.t.Context(), b)
		shapes[i] = m.shape(calls[i])
	}
	if shapes[0] != shapes[1] {
		m.rt.Fatalf("%T %+v:\nmemory: %s\nother:  %s\nerror:  %v", op, op, shapes[0], shapes[1], calls[1].err)
	}
	return calls[0]
}

func (m *machine) shape(c *call) string {
	if !m.exact {
		return c.shape()
	}
	var text strings.Builder
	fmt.Fprintln(&text, c.shape(), c.lease, exactly(c.rec))
	for _, from := range c.claimed {
		for _, rec := range from.Records {
			fmt.Fprintln(&text, exactly(rec))
		}
	}
	return text.String()
}

func exactly(r backends.Record) string {
	return fmt.Sprint(r.CreatedAt, r.UpdatedAt, r.StartedAt, r.Deadline, r.LastDeadline, r.ReadAt)
}

// align lets time pass until it is a whole tick.
func align() { pass(tick - time.Duration(time.Now().UnixNano())%tick) }

// tick makes the time of what happens next its own.
func (m *machine) tick() {
	if m.exact {
		pass(tick)
	}
}

func (m *machine) store(rt *rapid.T) backends.Terms {
	return rapid.SampledFrom(m.stores).Draw(rt, "store")
}
func (m *machine) box(rt *rapid.T) string { return rapid.SampledFrom(m.boxes).Draw(rt, "mailbox") }

func (m *machine) create(rt *rapid.T) {
	m.tick()
	m.made++
	terms, mailbox := m.store(rt), m.box(rt)
	c := question(terms, fmt.Sprint(m.made))
	if rapid.IntRange(0, 2).Draw(rt, "headers") == 0 {
		c = withHeaders(c)
	}
	c.Mailbox, c.ID = mailbox, backends.DeriveID(terms.Store, mailbox, fmt.Sprint(m.made))
	m.ids = append(m.ids, get{terms, c.ID})
	m.both(c)
}

// createBeside makes another request for the mailbox of one that there is.
func (m *machine) createBeside(rt *rapid.T) {
	r := m.request(rt)
	m.tick()
	m.made++
	c := question(r.Terms, "beside")
	c.Mailbox = m.mailboxOf(r)
	c.ID = backends.DeriveID(r.Store, c.Mailbox, fmt.Sprint(m.made))
	m.ids = append(m.ids, get{r.Terms, c.ID})
	m.both(c)
}

func (m *machine) mailboxOf(r get) string {
	return m.boxes[slices.IndexFunc(m.boxes, func(box string) bool {
		return backends.Partition(box) == backends.PartitionOf(r.id)
	})]
}

func (m *machine) createAgain(rt *rapid.T) {
	m.tick()
	r := m.request(rt)
	c := question(r.Terms, "again")
	c.ID, c.Mailbox = r.id, m.mailboxOf(r)
	m.both(c)
}

// request picks one that may exist.
func (m *machine) request(rt *rapid.T) get {
	if len(m.ids) == 0 {
		rt.Skip("there is none")
	}
	return m.ids[max(0, len(m.ids)-1-rapid.IntRange(0, 8).Draw(rt, "which"))]
}

func (m *machine) claim(rt *rapid.T) {
	m.tick()
	c := backends.Claim{ID: fmt.Sprint("claim ", len(m.claims)), Mailbox: m.box(rt)}
	for _, terms := range m.stores {
		if !rapid.Bool().Draw(rt, "from "+terms.Store) {
			continue
		}
		limit := 1
		if terms.MaxAttempts == 1 || !m.exact { // what is claimed together lapses together, in either order
			limit = rapid.IntRange(1, 3).Draw(rt, "limit")
		}
		c.From = append(c.From, backends.From{Terms: m.rolledOut(rt, terms), Limit: limit})
	}
	if len(c.From) == 0 {
		rt.Skip("no store")
	}
	m.claims = append(m.claims, c)
	m.both(c)
}

func (m *machine) claimAgain(rt *rapid.T) {
	if len(m.claims) == 0 {
		rt.Skip("there is none")
	}
	m.tick()
	c := m.claims[max(0, len(m.claims)-1-rapid.IntRange(0, 4).Draw(rt, "which"))]
	c.From = slices.Clone(c.From)
	slices.Reverse(c.From)
	m.both(c)
}

// attempt is mostly the one that the request is at.
func (m *machine) attempt(rt *rapid.T, r get) int {
	if rapid.IntRange(0, 3).Draw(rt, "right attempt") > 0 {
		return m.both(r).rec.Attempt
	}
	return rapid.IntRange(0, 3).Draw(rt, "attempt")
}

func (m *machine) extend(rt *rapid.T) {
	m.tick()
	r := m.request(rt)
	e := backends.Extend{Terms: m.rolledOut(rt, r.Terms), ID: r.id, Attempt: m.attempt(rt, r)}
	switch rapid.IntRange(0, 3).Draw(rt, "progress") {
	case 0:
		e = withProgress(e)
	case 1:
		e = withLargeProgress(e)
	}
	if rapid.IntRange(0, 2).Draw(rt, "release") == 0 {
		e.Release, e.After = true, m.aPause(rt)
	}
	m.change(e)
}

// aPause is a pause, or none.
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
		rt.Skip("there is none")
	}
	m.tick()
	m.both(m.changes[max(0, len(m.changes)-1-rapid.IntRange(0, 4).Draw(rt, "which"))])
}

// rolledOut returns the terms, or those of a node that has a newer policy already, which allows one attempt.
func (m *machine) rolledOut(rt *rapid.T, t backends.Terms) backends.Terms {
	if rapid.IntRange(0, 5).Draw(rt, "node") == 0 {
		t.MaxAttempts = 1
	}
	return t
}

func (m *machine) end(rt *rapid.T) {
	r := m.request(rt)
	attempt := m.attempt(rt, r)
	if rapid.IntRange(0, 5).Draw(rt, "small") > 0 {
		m.both(answer(r.Terms, r.id, attempt))
	} else {
		m.both(largeAnswer(r.Terms, r.id, attempt))
	}
}

func (m *machine) cancel(rt *rapid.T) {
	m.tick()
	r := m.request(rt)
	c := givingUp(r.Terms, r.id)
	c.Error, c.Grace = fmt.Sprint("gave up ", len(m.changes)), m.aPause(rt)
	m.change(c)
}

func (m *machine) get(rt *rapid.T) { m.both(m.request(rt)) }

func (m *machine) look(rt *rapid.T) { m.both(look{m.store(rt), m.box(rt)}) }

// reachDeadline looks at a request exactly at its deadline, and a microsecond later, and returns to whole ticks.
func (m *machine) reachDeadline(rt *rapid.T) {
	r := m.request(rt)
	rec := m.both(r).rec
	wait := rec.Deadline.Sub(rec.ReadAt)
	if wait <= 0 || rec.Ended() {
		rt.Skip("it has none")
	}
	for _, wait := range []time.Duration{wait, time.Microsecond} {
		pass(wait)
		m.both(r)
		m.both(look{r.Terms, rec.Mailbox})
		switch rapid.IntRange(0, 5).Draw(rt, "there") {
		case 0:
			m.both(answer(r.Terms, r.id, rec.Attempt))
		case 1:
			if r.MaxAttempts > 1 {
				break // it would lapse at a whole tick
			}
			m.both(backends.Extend{Terms: r.Terms, ID: r.id, Attempt: rec.Attempt})
		case 2:
			m.both(cancelling(r.Terms, r.id, m.pause))
		}
	}
	align()
}
