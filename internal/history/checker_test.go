package history

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/calls"
)

// newlyCreated returns the record of a new request as a later read returns it.
func newlyCreated(c backends.Create, createdAt, readAt int64) backends.Record {
	at := time.UnixMicro(createdAt).UTC()
	deadline := at.Add(c.PendingTimeout)
	return backends.Record{ID: c.ID, Mailbox: c.Mailbox, Status: backends.StatusPending,
		Codec: c.Codec, Payload: c.Payload,
		CreatedAt: at, UpdatedAt: at, Deadline: deadline, LastDeadline: deadline,
		ReadAt: time.UnixMicro(readAt).UTC()}
}

// sameMicrosecond returns a create and two claims, all in one microsecond. Second is the second
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
		t.Error("two claims got one attempt, and the checker found no mistake")
	}
}

// diary is a history that a test makes call by call, on fake time, over memory.
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

// check checks the history with one call replaced.
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

// inDiary makes a diary of all effects of an Extend and a Cancel, and passes it to use.
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
		d.do("get after the grace", calls.Retried().Get(calls.Retried().Question("run out").ID))

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
		d.do("create another", calls.Retried().Question("another"))
		d.do("repeated claim", d.poll("late claim")).Repeat = true
		d.do("get after the release", calls.Retried().Get(release.ID))
		use(d)
	})
}

func TestCheckerAllowsAnAnswerAtTheDeadlineWhoseReplyIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{Stage: &calls.Stage{T: t, B: memory.New()}, names: map[string]*calls.Call{}}
		d.claimed("late")
		last := d.names["claim late"].Claimed[0].Records[0].LastDeadline
		calls.Pass(time.Until(last) - time.Millisecond) // a diary waits for one more
		id := calls.Retried().Question("late").ID
		answer := d.do("answer", calls.Retried().Answer(id, 1))
		if got := d.do("get", calls.Retried().Get(id)); !got.Rec.UpdatedAt.Equal(last) {
			t.Fatalf("answered at %v, want %v", got.Rec.UpdatedAt, last)
		}
		lost := &calls.Call{Op: answer.Op, Began: answer.Began, Was: calls.Never,
			Err: context.DeadlineExceeded, Lossy: true, Abandoned: true}
		if err := d.check(lost, answer); err != nil {
			t.Error(err)
		}
	})
}

func (d *diary) poll(id string) backends.Claim {
	c := calls.Poll(1, calls.Retried())
	c.ID = id
	return c
}

// claimed creates a request with headers and claims it.
func (d *diary) claimed(key string) {
	d.do("create "+key, calls.WithHeaders(calls.Retried().Question(key)))
	d.do("claim "+key, d.poll(key))
}

// graced creates and claims a request, and cancels it with a grace.
func (d *diary) graced(key string) {
	d.claimed(key)
	c := calls.Retried().Cancelling(calls.Retried().Question(key).ID, time.Hour)
	c.Error = "why " + key
	d.do("cancel "+key, c)
}

// Any call may lose its reply. Its effect then explains the replies to other calls.
func TestCheckerAllowsEachReplyToBeLost(t *testing.T) {
	inDiary(t, func(d *diary) {
		if err := d.check(nil, nil); err != nil {
			t.Fatal(err)
		}
		for name, c := range d.names {
			lost := &calls.Call{
				Op:        c.Op,
				Began:     c.Began,
				Was:       calls.Never,
				Err:       context.DeadlineExceeded,
				Lossy:     true,
				Abandoned: true,
			}
			if err := d.check(lost, c); err != nil {
				t.Errorf("the reply to %q is lost: %v", name, err)
			}
		}
	})
}

// mistakes are wrong replies, each to a call of the diary.
var mistakes = []struct {
	name, call string
	make       func(*calls.Call)
}{
	{"a grace is too long", "cancel run out",
		func(c *calls.Call) { c.Rec.Deadline = c.Rec.Deadline.Add(time.Minute) }},
	{"an attempt may follow a cancel", "cancel run out",
		func(c *calls.Call) { c.Rec.LastDeadline = c.Rec.LastDeadline.Add(time.Hour) }},
	{"a cancel is not noted", "cancel run out",
		func(c *calls.Call) { c.Rec.CancelledAs, c.Rec.CancelReason = "", "" }},
	{"a cancel returns a payload", "cancel run out",
		func(c *calls.Call) { c.Rec.Payload = []byte("question run out") }},
	{"an extend moves a grace", "extend in the grace",
		func(c *calls.Call) { c.Lease.Deadline = c.Lease.Deadline.Add(time.Minute) }},
	{"an extend does not tell of a cancel", "extend in the grace",
		func(c *calls.Call) { c.Lease.CancelledAs = "" }},
	{"an extend returns another time", "extend in the grace",
		func(c *calls.Call) { c.Lease.UpdatedAt = c.Lease.UpdatedAt.Add(-time.Microsecond) }},
	{"an extend of an earlier request's claim succeeds", "extend in the grace",
		func(c *calls.Call) {
			x := c.Op.(backends.Extend)
			x.StartedAt = time.UnixMicro(c.Began).Add(-time.Hour)
			c.Op = x
		}},
	{"an end of an earlier request's claim succeeds", "answer",
		func(c *calls.Call) {
			e := c.Op.(backends.End)
			e.StartedAt = time.UnixMicro(c.Began).Add(-time.Hour)
			c.Op = e
		}},
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
	{"a request reads as timed out after a grace", "get after the grace",
		func(c *calls.Call) { c.Rec.Status, c.Rec.Error = backends.StatusTimeout, timedOut }},
	{"a released request is not pending", "look",
		func(c *calls.Call) { c.Pending = false }},
	{"a released request is skipped", "second claim",
		func(c *calls.Call) { c.Claimed = make([]backends.Claimed, 1) }},
	{"a request released for later is skipped", "late claim",
		func(c *calls.Call) { c.Claimed = make([]backends.Claimed, 1) }},
	{"a request released for later is claimed too early", "late claim", claimEarlier},
	{"a repeated claim leaves out a request", "repeated claim",
		func(c *calls.Call) { c.Claimed = make([]backends.Claimed, 1) }},
	{"a request moves to another mailbox", "get the answer",
		func(c *calls.Call) { c.Rec.Mailbox = "another" }},
	{"an end returns no mailbox", "answer",
		func(c *calls.Call) { c.Rec.Mailbox = "" }},
}

func TestCheckerFindsEachMistake(t *testing.T) {
	inDiary(t, func(d *diary) {
		for _, m := range mistakes {
			c := d.names[m.call]
			wrong := *c
			m.make(&wrong)
			if d.check(&wrong, c) == nil {
				t.Errorf("%s, and the checker found no mistake", m.name)
			}
		}
	})
}

// claimEarlier moves a claim and its lease half an hour earlier.
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

func TestCheckerOrdersManyCallsWhoseRepliesAreLost(t *testing.T) {
	terms := backends.Terms{Store: "s", PendingTimeout: time.Second, RunningTimeout: time.Second,
		MaxAttempts: 1, Exclusive: true}
	create := backends.Create{Terms: terms, ID: "a", Mailbox: "m"}
	claim := backends.Claim{ID: "c", Mailbox: "m", From: []backends.From{{Terms: terms, Limit: 1}}}
	running := newlyCreated(create, 10, 20)
	at := time.UnixMicro(20).UTC()
	running.Status, running.Attempt, running.StartedAt, running.UpdatedAt = "running", 1, at, at
	running.Deadline, running.LastDeadline = at.Add(time.Second), at.Add(time.Second)
	all := []*calls.Call{
		{Op: create, Rec: newlyCreated(create, 10, 10), Began: 10, Was: 11},
		{Op: claim, Claimed: []backends.Claimed{{Records: []backends.Record{running}}},
			Began: 20, Was: 21},
	}
	for i := range int64(20) {
		lost := backends.Cancel{Terms: terms, ID: "a", Outcome: backends.StatusCancelled,
			Error: fmt.Sprint("reason ", i), Grace: time.Millisecond}
		busy := backends.Create{Terms: terms, ID: "b", Mailbox: "m"}
		all = append(all,
			&calls.Call{Op: lost, Began: 30 + i, Was: calls.Never, Lossy: true, Abandoned: true,
				Err: context.DeadlineExceeded},
			&calls.Call{Op: busy, Began: 30 + 10*i, Was: 70 + 10*i,
				Err: &backends.BusyError{ID: "a"}})
	}
	running.ReadAt = time.UnixMicro(500).UTC()
	last := &calls.Call{Op: calls.Get{Terms: terms, ID: "a"}, Rec: running, Began: 499, Was: 501}
	if err := New(append(all, last)).Check(); err != nil {
		t.Error(err)
	}
	last.Rec.Attempt = 2
	if New(append(all, last)).Check() == nil {
		t.Error("an attempt was not started, and no mistake was found")
	}
}

func TestSessionsGoOnUntilEverythingHasHappened(t *testing.T) {
	all := tally{changes: map[string]int{}}
	for _, what := range []string{progress, released, reclaimed, inGrace, endedAtOnce, firstCancel,
		secondCancel, overruled, ranOut} {
		all.changes[what] = 1
	}
	for _, c := range []struct {
		planned, made int64
		total         tally
		want          bool
	}{
		{planned: 100, made: 99, total: all, want: true},
		{planned: 100, made: 100, want: false},
		{planned: enough, made: enough, total: all, want: false},
		{planned: enough, made: enough, want: true},
		{planned: enough, made: patient * enough, want: false},
	} {
		s := &Sessions{Operations: c.planned, Faults: &Faults{}}
		s.Faults.calls.Store(c.made)
		if got := s.more(c.total); got != c.want {
			t.Errorf("%d of %d calls, lacks %q: got %v", c.made, c.planned, c.total.lacks(), got)
		}
	}
}
