package proof_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
)

// sameMicrosecond is a create and two claims, all at one time of the server. Second is the second
// claim.
func sameMicrosecond(second call) []*call {
	terms := backends.Terms{Store: "s", PendingTimeout: time.Second, RunningTimeout: time.Second,
		MaxAttempts: 1}
	create := backends.Create{Terms: terms, ID: "a", Mailbox: "m"}
	made := newlyCreated(create, 10, 10)
	made.Mailbox = create.Mailbox
	running := made
	running.Status, running.Attempt, running.StartedAt = backends.StatusRunning, 1, made.CreatedAt
	claim := backends.Claim{ID: "c", Mailbox: "m", From: []backends.From{{Terms: terms, Limit: 1}}}
	claimed := []backends.Claimed{{Records: []backends.Record{running}}}
	second.op, second.claimed, second.began, second.was = claim, claimed, 10, 11
	return []*call{
		{op: create, rec: made, began: 10, was: 11},
		{op: create, rec: made, began: 10, was: 11, repeat: true},
		{op: claim, claimed: claimed, began: 10, was: 11},
		&second,
	}
}

func TestCheckerAllowsARepeatWithinTheMicrosecond(t *testing.T) {
	if err := newHistory(sameMicrosecond(call{repeat: true})).check(); err != nil {
		t.Error(err)
	}
}

func TestCheckerFindsTwoClaimsOfOneAttemptWithinAMicrosecond(t *testing.T) {
	if err := newHistory(sameMicrosecond(call{})).check(); err == nil {
		t.Error("one attempt was given to two claims, and the checker found nothing")
	}
}

// diary is a history that is made call by call, on fake time and in memory.
type diary struct {
	*stage
	calls []*call
	names map[string]*call
}

func (d *diary) do(name string, op any) *call {
	d.Helper()
	pass(time.Millisecond)
	began := clockMicros()
	c := d.must(op)
	c.began, c.was = began, clockMicros()+1
	d.calls = append(d.calls, c)
	d.names[name] = c
	return c
}

// check judges the history with one of its calls in another form.
func (d *diary) check(instead *call, of *call) error {
	var calls []*call
	for _, c := range d.calls {
		if c == of {
			c = instead
		}
		calls = append(calls, c)
	}
	h := newHistory(calls)
	h.checkMailbox([]backends.Terms{retried()})
	return h.check()
}

// inDiary writes a diary of all that an Extend and a Cancel can do, and hands it on.
func inDiary(t *testing.T, use func(*diary)) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{stage: &stage{t, memory.New()}, names: map[string]*call{}}
		d.graced("answered")
		id := question(retried(), "answered").ID
		d.do("extend in the grace", withProgress(extending(retried(), id)))
		second := cancelling(retried(), id, time.Minute)
		second.Error = "another reason"
		d.do("second cancel", second)
		d.do("get in the grace", get{retried(), id})
		d.do("answer", answer(retried(), id, 1))
		d.do("get the answer", get{retried(), id})

		d.graced("run out")
		pass(2 * time.Hour)
		d.do("get what ran out", get{retried(), question(retried(), "run out").ID})

		d.claimed("released")
		release := releasing(retried(), question(retried(), "released").ID, 0)
		d.do("release", release)
		d.do("look", look{retried(), box})
		d.do("second claim", d.poll("second claim"))
		release.Attempt, release.After = 2, time.Hour
		d.do("release for later", release)
		d.do("early claim", d.poll("early claim"))
		pass(time.Hour)
		d.do("late claim", d.poll("late claim"))
		d.do("get what was released", get{retried(), release.ID})
		use(d)
	})
}

func (d *diary) poll(id string) backends.Claim {
	c := poll(1, retried())
	c.ID = id
	return c
}

// claimed has a request claimed, with headers.
func (d *diary) claimed(key string) {
	d.do("create "+key, withHeaders(question(retried(), key)))
	d.do("claim "+key, d.poll(key))
}

// graced has a cancel of it noted.
func (d *diary) graced(key string) {
	d.claimed(key)
	c := cancelling(retried(), question(retried(), key).ID, time.Hour)
	c.Error = "why " + key
	d.do("cancel "+key, c)
}

// Whatever call got no answer: what it did explains what others saw.
func TestCheckerAllowsEachReplyToBeLost(t *testing.T) {
	inDiary(t, func(d *diary) {
		if err := d.check(nil, nil); err != nil {
			t.Fatal(err)
		}
		for name, c := range d.names {
			lost := &call{op: c.op, began: c.began, was: never, err: context.DeadlineExceeded,
				lossy: true, abandoned: true}
			if err := d.check(lost, c); err != nil {
				t.Errorf("no answer to %q: %v", name, err)
			}
		}
	})
}

// mistakes are wrong answers, each to a call of the diary.
var mistakes = []struct {
	name, answer string
	make         func(*call)
}{
	{"a grace is longer than it should be", "cancel run out",
		func(c *call) { c.rec.Deadline = c.rec.Deadline.Add(time.Minute) }},
	{"an attempt is to follow a cancel", "cancel run out",
		func(c *call) { c.rec.LastDeadline = c.rec.LastDeadline.Add(time.Hour) }},
	{"a cancel is not noted", "cancel run out",
		func(c *call) { c.rec.CancelledAs, c.rec.CancelReason = "", "" }},
	{"a cancel answers with a payload", "cancel run out",
		func(c *call) { c.rec.Payload = []byte("question run out") }},
	{"an extend moves a grace", "extend in the grace",
		func(c *call) { c.lease.Deadline = c.lease.Deadline.Add(time.Minute) }},
	{"an extend does not tell of a cancel", "extend in the grace",
		func(c *call) { c.lease.CancelledAs = "" }},
	{"an extend tells another time", "extend in the grace",
		func(c *call) { c.lease.UpdatedAt = c.lease.UpdatedAt.Add(-time.Microsecond) }},
	{"a second cancel changes the reason", "second cancel",
		func(c *call) { c.rec.CancelReason = "another reason" }},
	{"progress is lost", "get in the grace",
		func(c *call) { c.rec.Payload = []byte("question answered") }},
	{"the codec of progress is lost", "get in the grace",
		func(c *call) { c.rec.Codec = "raw" }},
	{"the headers are lost", "answer",
		func(c *call) { c.rec.Headers = nil }},
	{"a note survives the end", "answer",
		func(c *call) { c.rec.CancelledAs = backends.StatusCancelled }},
	{"an end moves a deadline", "answer",
		func(c *call) { c.rec.Deadline = c.rec.Deadline.Add(time.Minute) }},
	{"what ran out reads as timed out", "get what ran out",
		func(c *call) { c.rec.Status, c.rec.Error = backends.StatusTimeout, timedOut }},
	{"what was released is not pending", "look",
		func(c *call) { c.pending = false }},
	{"what was released is passed over", "second claim",
		func(c *call) { c.claimed = make([]backends.Claimed, 1) }},
	{"what was released for later is passed over", "late claim",
		func(c *call) { c.claimed = make([]backends.Claimed, 1) }},
	{"what was released for later is claimed too early", "late claim", claimEarlier},
}

func TestCheckerFindsEachMistake(t *testing.T) {
	inDiary(t, func(d *diary) {
		for _, m := range mistakes {
			c := d.names[m.answer]
			wrong := *c
			m.make(&wrong)
			if d.check(&wrong, c) == nil {
				t.Errorf("%s, and the checker found nothing", m.name)
			}
		}
	})
}

// claimEarlier makes a claim that came half an hour earlier, and took as long.
func claimEarlier(c *call) {
	const early = 30 * time.Minute
	rec := c.claimed[0].Records[0]
	for _, at := range []*time.Time{&rec.StartedAt, &rec.UpdatedAt, &rec.ReadAt, &rec.Deadline,
		&rec.LastDeadline} {
		*at = at.Add(-early)
	}
	c.claimed = []backends.Claimed{{Records: []backends.Record{rec}}}
	c.began -= early.Microseconds()
}
