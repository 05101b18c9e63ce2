package history

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/calls"
)

// sameMicrosecond is a create and two claims, all at one time of the server. Second is the second
// claim.
func sameMicrosecond(second calls.Call) []*calls.Call {
	terms := backends.Terms{Store: "s", PendingTimeout: time.Second, RunningTimeout: time.Second,
		MaxAttempts: 1}
	create := backends.Create{Terms: terms, ID: "a", Mailbox: "m"}
	made := newlyCreated(create, 10, 10)
	made.Mailbox = create.Mailbox
	running := made
	running.Status, running.Attempt, running.StartedAt = backends.StatusRunning, 1, made.CreatedAt
	claim := backends.Claim{ID: "c", Mailbox: "m", From: []backends.From{{Terms: terms, Limit: 1}}}
	claimed := []backends.Claimed{{Records: []backends.Record{running}}}
	second.Op, second.Claimed, second.Began, second.Was = claim, claimed, 10, 11
	return []*calls.Call{
		{Op: create, Rec: made, Began: 10, Was: 11},
		{Op: create, Rec: made, Began: 10, Was: 11, Repeat: true},
		{Op: claim, Claimed: claimed, Began: 10, Was: 11},
		&second,
	}
}

func TestCheckerAllowsARepeatWithinTheMicrosecond(t *testing.T) {
	if err := New(sameMicrosecond(calls.Call{Repeat: true})).Check(); err != nil {
		t.Error(err)
	}
}

func TestCheckerFindsTwoClaimsOfOneAttemptWithinAMicrosecond(t *testing.T) {
	if err := New(sameMicrosecond(calls.Call{})).Check(); err == nil {
		t.Error("one attempt was given to two claims, and the checker found nothing")
	}
}

// diary is a history that is made call by call, on fake time and in memory.
type diary struct {
	*calls.Stage
	calls []*calls.Call
	names map[string]*calls.Call
}

func (d *diary) do(name string, op any) *calls.Call {
	d.Helper()
	calls.Pass(time.Millisecond)
	began := calls.Now()
	c := d.Must(op)
	c.Began, c.Was = began, calls.Now()+1
	d.calls = append(d.calls, c)
	d.names[name] = c
	return c
}

// check judges the history with one of its calls in another form.
func (d *diary) check(instead *calls.Call, of *calls.Call) error {
	var all []*calls.Call
	for _, c := range d.calls {
		if c == of {
			c = instead
		}
		all = append(all, c)
	}
	h := New(all)
	h.CheckMailbox([]backends.Terms{calls.Retried().Terms()})
	return h.Check()
}

// inDiary writes a diary of all that an Extend and a Cancel can do, and hands it on.
func inDiary(t *testing.T, use func(*diary)) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{Stage: &calls.Stage{T: t, B: memory.New()}, names: map[string]*calls.Call{}}
		d.graced("answered")
		id := calls.Retried().Question("answered").ID
		d.do("extend in the grace", calls.WithProgress(calls.Retried().Extending(id)))
		second := calls.Retried().Cancelling(id, time.Minute)
		second.Error = "another reason"
		d.do("second cancel", second)
		d.do("get in the grace", calls.Retried().Get(id))
		d.do("answer", calls.Retried().Answer(id, 1))
		d.do("get the answer", calls.Retried().Get(id))

		d.graced("run out")
		calls.Pass(2 * time.Hour)
		d.do("get what ran out", calls.Retried().Get(calls.Retried().Question("run out").ID))

		d.claimed("released")
		release := calls.Retried().Releasing(calls.Retried().Question("released").ID, 0)
		d.do("release", release)
		d.do("look", calls.Retried().Look())
		d.do("second claim", d.poll("second claim"))
		release.Attempt, release.After = 2, time.Hour
		d.do("release for later", release)
		d.do("early claim", d.poll("early claim"))
		calls.Pass(time.Hour)
		d.do("late claim", d.poll("late claim"))
		d.do("get what was released", calls.Retried().Get(release.ID))
		use(d)
	})
}

func (d *diary) poll(id string) backends.Claim {
	c := calls.Poll(1, calls.Retried())
	c.ID = id
	return c
}

// claimed has a request claimed, with headers.
func (d *diary) claimed(key string) {
	d.do("create "+key, calls.WithHeaders(calls.Retried().Question(key)))
	d.do("claim "+key, d.poll(key))
}

// graced has a cancel of it noted.
func (d *diary) graced(key string) {
	d.claimed(key)
	c := calls.Retried().Cancelling(calls.Retried().Question(key).ID, time.Hour)
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
			lost := &calls.Call{Op: c.Op, Began: c.Began, Was: calls.Never, Err: context.DeadlineExceeded,
				Lossy: true, Abandoned: true}
			if err := d.check(lost, c); err != nil {
				t.Errorf("no answer to %q: %v", name, err)
			}
		}
	})
}

// mistakes are wrong answers, each to a call of the diary.
var mistakes = []struct {
	name, answer string
	make         func(*calls.Call)
}{
	{"a grace is longer than it should be", "cancel run out",
		func(c *calls.Call) { c.Rec.Deadline = c.Rec.Deadline.Add(time.Minute) }},
	{"an attempt is to follow a cancel", "cancel run out",
		func(c *calls.Call) { c.Rec.LastDeadline = c.Rec.LastDeadline.Add(time.Hour) }},
	{"a cancel is not noted", "cancel run out",
		func(c *calls.Call) { c.Rec.CancelledAs, c.Rec.CancelReason = "", "" }},
	{"a cancel answers with a payload", "cancel run out",
		func(c *calls.Call) { c.Rec.Payload = []byte("question run out") }},
	{"an extend moves a grace", "extend in the grace",
		func(c *calls.Call) { c.Lease.Deadline = c.Lease.Deadline.Add(time.Minute) }},
	{"an extend does not tell of a cancel", "extend in the grace",
		func(c *calls.Call) { c.Lease.CancelledAs = "" }},
	{"an extend tells another time", "extend in the grace",
		func(c *calls.Call) { c.Lease.UpdatedAt = c.Lease.UpdatedAt.Add(-time.Microsecond) }},
	{"a second cancel changes the reason", "second cancel",
		func(c *calls.Call) { c.Rec.CancelReason = "another reason" }},
	{"progress is lost", "get in the grace",
		func(c *calls.Call) { c.Rec.Payload = []byte("question answered") }},
	{"the codec of progress is lost", "get in the grace",
		func(c *calls.Call) { c.Rec.Codec = "raw" }},
	{"the headers are lost", "answer",
		func(c *calls.Call) { c.Rec.Headers = nil }},
	{"a note survives the end", "answer",
		func(c *calls.Call) { c.Rec.CancelledAs = backends.StatusCancelled }},
	{"an end moves a deadline", "answer",
		func(c *calls.Call) { c.Rec.Deadline = c.Rec.Deadline.Add(time.Minute) }},
	{"what ran out reads as timed out", "get what ran out",
		func(c *calls.Call) { c.Rec.Status, c.Rec.Error = backends.StatusTimeout, timedOut }},
	{"what was released is not pending", "look",
		func(c *calls.Call) { c.Pending = false }},
	{"what was released is passed over", "second claim",
		func(c *calls.Call) { c.Claimed = make([]backends.Claimed, 1) }},
	{"what was released for later is passed over", "late claim",
		func(c *calls.Call) { c.Claimed = make([]backends.Claimed, 1) }},
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
func claimEarlier(c *calls.Call) {
	const early = 30 * time.Minute
	rec := c.Claimed[0].Records[0]
	for _, at := range []*time.Time{&rec.StartedAt, &rec.UpdatedAt, &rec.ReadAt, &rec.Deadline,
		&rec.LastDeadline} {
		*at = at.Add(-early)
	}
	c.Claimed = []backends.Claimed{{Records: []backends.Record{rec}}}
	c.Began -= early.Microseconds()
}
