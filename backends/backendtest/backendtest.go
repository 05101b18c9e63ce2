// Package backendtest tests storage engines. [Run] is the conformance suite. It has a named case
// for every rule of [backends.Backend], with the reason why the rule matters. A backend has to pass
// all cases. No case depends on the kind of backend.
//
//	func TestConformance(t *testing.T) {
//		backendtest.Run(t, func(t *testing.T) backends.Backend { return memory.New() })
//	}
//
// A case compares the backend's times only with each other, never with the test's clock. If a slow
// backend makes a case miss a deadline, the case runs again with twice the time.
//
// [Machine] makes random sequences of calls and compares the results with the results of memory.
// [Histories] makes calls by many concurrent callers and checks the replies afterwards. A backend
// should pass these two as well.
package backendtest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// Option changes how [Run] and [Machine] run.
type Option func(*config)

type config struct{ bubble bool }

// InBubble runs each case, with its calls of open, in a [synctest] bubble. The backend must use the
// fake clock of the bubble. Without InBubble the cases wait on the real clock, some tens of
// milliseconds each.
func InBubble() Option { return func(c *config) { c.bubble = true } }

// Run runs the suite. Open returns a backend that shares no requests with the backends of earlier
// calls. It may register clean-up with t. A case that runs again calls open again.
func Run(t *testing.T, open func(t *testing.T) backends.Backend, opts ...Option) {
	t.Helper()
	var conf config
	for _, opt := range opts {
		opt(&conf)
	}
	for _, c := range allCases() {
		test := func(t *testing.T) {
			c.run(t, func() backends.Backend { return open(t) })
		}
		t.Run(c.name, func(t *testing.T) {
			if conf.bubble {
				synctest.Test(t, test)
			} else {
				test(t)
			}
		})
	}
}

func allCases() []testCase {
	return slices.Concat(createCases, claimCases, repeatCases, endCases, timeoutCases,
		raceCases, attemptCases, exclusiveCases, cancelCases, extendCases, headerCases,
		isolationCases, hintCases, extremeCases, wakeCases, manyCases, listCases)
}

// testCase is one rule.
type testCase struct {
	name string
	why  string
	test func(w *world)
}

// run runs the case until it meets its deadlines, each time with twice the time.
func (c testCase) run(t testing.TB, open func() backends.Backend) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Why this matters: %s", c.why)
		}
	})
	w := &world{TB: t, short: 25 * time.Millisecond}
	for !c.inTime(w, open()) {
		w.short *= 2
	}
}

// inTime runs the case once. It reports false if the case missed a deadline.
func (c testCase) inTime(w *world, b backends.Backend) (inTime bool) {
	defer func() {
		if r := recover(); r != nil && r != errTooLate {
			panic(r)
		}
	}()
	w.b = b
	c.test(w)
	return true
}

// errTooLate is the panic value of a case that missed a deadline: see [world.late].
var errTooLate = errors.New("too late for a deadline")

// world is a backend under test and helpers for cases. A helper ends the case when a call fails.
type world struct {
	testing.TB
	b backends.Backend

	// short is a timeout that a case can wait for. Some cases must also act before the timeout. If
	// the backend is too slow for that, the case runs again with twice the time.
	short time.Duration
}

// long is a timeout that no case reaches.
const long = time.Hour

const box = "runtime-1" // the mailbox of cases with one mailbox

// terms returns terms under which nothing expires during a case.
func terms(store string) backends.Terms {
	return backends.Terms{Store: store, PendingTimeout: long, RunningTimeout: long,
		Retention: long, MaxAttempts: 1}
}

// request returns the Create of a new request, with a unique payload and header.
func request(t backends.Terms, mailbox string) backends.Create {
	id := backends.NewID(mailbox)
	return backends.Create{Terms: t, ID: id, Mailbox: mailbox,
		Codec: "raw", Payload: []byte("question " + id), Headers: map[string]string{"of": id}}
}

// poll returns the Claim of one request from each store.
func poll(mailbox string, stores ...backends.Terms) backends.Claim {
	c := backends.Claim{ID: backends.NewID(mailbox), Mailbox: mailbox}
	for _, t := range stores {
		c.From = append(c.From, backends.From{Terms: t, Limit: 1})
	}
	return c
}

// completion returns the End of a request at its attempt, with an answer.
func completion(t backends.Terms, rec backends.Record) backends.End {
	return backends.End{Terms: t, ID: rec.ID, Outcome: backends.StatusCompleted,
		Attempt: rec.Attempt, StartedAt: rec.StartedAt, Codec: "raw",
		Payload: []byte("answer " + rec.ID)}
}

// giveUp returns the Cancel of a request as a timeout, without a grace.
func giveUp(t backends.Terms, rec backends.Record) backends.Cancel {
	return backends.Cancel{Terms: t, ID: rec.ID, Outcome: backends.StatusTimeout, Error: "gave up"}
}

func (w *world) create(c backends.Create) backends.Record {
	w.Helper()
	rec, err := w.b.Create(w.Context(), c)
	if err != nil {
		w.Fatalf("Create: %v", err)
	}
	return rec
}

// created stores a new request to box.
func (w *world) created(t backends.Terms) backends.Record {
	w.Helper()
	return w.create(request(t, box))
}

func (w *world) get(store, id string) backends.Record {
	w.Helper()
	rec, err := w.b.Get(w.Context(), store, id)
	if err != nil {
		w.Fatalf("Get: %v", err)
	}
	w.checkReadAt(rec)
	return rec
}

func (w *world) pending(store, mailbox string) bool {
	w.Helper()
	pending, err := w.b.HasPending(w.Context(), store, mailbox)
	if err != nil {
		w.Fatalf("HasPending: %v", err)
	}
	return pending
}

// claim makes a claim and returns its requests, store by store.
func (w *world) claim(c backends.Claim) [][]backends.Record {
	w.Helper()
	results, err := w.b.Claim(w.Context(), c)
	return w.claimed(c, results, err)
}

// claimed checks a claim's results and returns their records.
func (w *world) claimed(
	c backends.Claim, results []backends.Claimed, err error,
) [][]backends.Record {
	w.Helper()
	if err != nil {
		w.Fatalf("Claim: %v", err)
	}
	if len(results) != len(c.From) {
		w.Fatalf("Claim returned %d results for %d stores", len(results), len(c.From))
	}
	records := make([][]backends.Record, len(results))
	for i, result := range results {
		if len(result.Errs) > 0 {
			w.Fatalf("Claim from %s: %v", c.From[i].Store, result.Errs)
		}
		records[i] = result.Records
		for _, rec := range result.Records {
			w.checkReadAt(rec)
		}
	}
	return records
}

// checkReadAt checks that the record's status fits its ReadAt.
func (w *world) checkReadAt(rec backends.Record) {
	w.Helper()
	if !rec.Ended() && rec.ReadAt.After(rec.Deadline) {
		w.Errorf("read as %s at %v, after its deadline %v", rec.Status, rec.ReadAt, rec.Deadline)
	}
	if rec.ReadAt.Before(rec.UpdatedAt) {
		w.Errorf("read at %v, before it was updated at %v", rec.ReadAt, rec.UpdatedAt)
	}
}

// checkTimedOut checks that a record that ended by itself was read after its last deadline.
func (w *world) checkTimedOut(rec backends.Record) {
	w.Helper()
	if !rec.ReadAt.After(rec.LastDeadline) {
		w.Errorf("read as %s at %v, not after its last deadline %v",
			rec.Status, rec.ReadAt, rec.LastDeadline)
	}
}

// checkNow checks that a time is that of the latest operation. Before is the backend's time before
// this operation.
func (w *world) checkNow(what string, at, before time.Time) {
	w.Helper()
	if now := w.clock(); at.Before(before) || at.After(now) {
		w.Errorf("%s: got %v, want the time of the operation, from %v to %v", what, at, before, now)
	}
}

// later waits until the backend's time is later than the time of each earlier operation. It returns
// the backend's time.
func (w *world) later() time.Time {
	w.Helper()
	w.pass(0)
	return w.clock()
}

// pop claims up to limit requests of one store in box.
func (w *world) pop(t backends.Terms, limit int) []backends.Record {
	w.Helper()
	c := poll(box, t)
	c.From[0].Limit = limit
	return w.claim(c)[0]
}

// popOne claims one request. The mailbox must have one.
func (w *world) popOne(t backends.Terms) backends.Record {
	w.Helper()
	got := w.pop(t, 1)
	if len(got) != 1 {
		w.Fatalf("Claim got %d requests, want 1", len(got))
	}
	return got[0]
}

// popInTime is popOne for a request with a short deadline.
func (w *world) popInTime(t backends.Terms, deadline time.Time) backends.Record {
	w.Helper()
	got := w.pop(t, 1)
	if len(got) == 0 {
		w.late(deadline)
	}
	if len(got) != 1 {
		w.Fatalf("Claim got %d requests, want 1", len(got))
	}
	return got[0]
}

// extend extends the first attempt of a request.
func (w *world) extend(t backends.Terms, id string) {
	w.Helper()
	w.renew(extension(t, id, 1))
}

// extendInTime is extend for a lease with a short deadline.
func (w *world) extendInTime(t backends.Terms, id string, deadline time.Time) {
	w.Helper()
	_, err := w.b.Extend(w.Context(), extension(t, id, 1))
	if err != nil {
		w.late(deadline)
		w.Fatalf("Extend: %v", err)
	}
}

// late is for a refused operation that had to come before a deadline. If the backend's clock is
// past the deadline, the refusal proves nothing. Then late ends the case, and the case runs again
// with twice the time.
func (w *world) late(deadline time.Time) {
	w.Helper()
	if !w.clock().After(deadline) {
		return
	}
	if w.short > 10*time.Second {
		w.Fatalf("the backend took longer than %v for one operation", w.short)
	}
	panic(errTooLate)
}

func (w *world) end(e backends.End) backends.Record {
	w.Helper()
	rec, err := w.b.End(w.Context(), e)
	if err != nil {
		w.Fatalf("End: %v", err)
	}
	return rec
}

func (w *world) cancel(c backends.Cancel) backends.Record {
	w.Helper()
	rec, err := w.b.Cancel(w.Context(), c)
	if err != nil {
		w.Fatalf("Cancel: %v", err)
	}
	return rec
}

// until waits for a condition, and fails after a minute. It polls with growing pauses, so even a
// minute takes few polls.
func (w *world) until(what string, condition func() bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	for pause := time.Millisecond; !condition(); pause += pause / 20 {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			w.Fatalf("gave up waiting until %s", what)
		}
	}
}

// untilStatus waits until a record has a status, and returns the record.
func (w *world) untilStatus(store, id, status string) (rec backends.Record) {
	w.Helper()
	w.until("the request reads as "+status, func() bool {
		rec = w.get(store, id)
		return rec.Status == status
	})
	return rec
}

// clock returns the backend's time.
func (w *world) clock() time.Time {
	w.Helper()
	return w.created(terms("clock")).CreatedAt
}

// pass waits until the backend's clock has moved on by more than d.
func (w *world) pass(d time.Duration) {
	w.Helper()
	start := w.clock()
	w.until("time has passed", func() bool { return w.clock().Sub(start) > d })
}

// optional returns the optional interface I of the backend. If the backend does not implement I,
// optional skips the case.
func optional[I any](w *world) I {
	w.Helper()
	implemented, ok := backends.As[I](w.b)
	if !ok {
		w.Skip("the backend is no ", reflect.TypeFor[I]())
	}
	return implemented
}

func ids(records []backends.Record) []string {
	ids := make([]string, len(records))
	for i, rec := range records {
		ids[i] = rec.ID
	}
	return ids
}
