package history

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
)

// A session is a mailbox of four stores. Requesters, workers, and front ends that give up make
// calls concurrently, and all calls are recorded. The session's times are so short that leases
// often expire and requests often time out.
type session struct {
	*Sessions
	ctx     context.Context
	mailbox string
	stores  []backends.Terms

	record
	tally tally

	lists   sync.Mutex
	ids     []calls.Get   // all requests for which a Create was sent
	held    []work        // claims whose workers have not reported yet
	creates []*calls.Call // to repeat
	claims  []*calls.Call // to repeat
	changes []*calls.Call // Extends and Cancels to repeat
	nonce   int
}

// work is a claim of a worker.
type work struct {
	terms backends.Terms
	rec   backends.Record
}

const (
	actors   = 8
	perActor = 60
)

// sessionStores returns the stores of a session. Their times are multiples of its pace.
func sessionStores(pace time.Duration) []backends.Terms {
	terms := func(name string, running time.Duration, attempts int) backends.Terms {
		return backends.Terms{
			Store:          name,
			PendingTimeout: 30 * pace,
			RunningTimeout: running * pace,
			Retention:      time.Minute + 1000*pace,
			MaxAttempts:    attempts,
		}
	}
	plain, retried := terms("plain", 12, 1), terms("retried", 4, 3)
	capped, exclusive := terms("capped", 12, 1), terms("exclusive", 6, 2)
	capped.MaxPending, exclusive.Exclusive = 4, true
	return []backends.Terms{plain, retried, capped, exclusive}
}

// run runs the actors, waits for them, and reads every request once more. It returns the fail-overs
// that may have lost effects of their calls.
func (s *session) run() ([]FailOver, error) {
	began := calls.Now()
	enough := time.Now().Add(s.stores[0].Retention / 2) // so that what has ended can be read
	var wg sync.WaitGroup
	for range actors {
		wg.Go(func() {
			for n := 0; n < perActor && time.Now().Before(enough); n++ {
				s.act()
			}
		})
	}
	wg.Wait()
	if err := s.settle(); err != nil || s.Shards == nil {
		return nil, err
	}
	ended := calls.Now()
	s.Shards.AwaitCalm()
	return s.Shards.Of(s.mailbox, began, ended)
}

func (s *session) act() {
	switch n := rand.IntN(100); {
	case n < 22:
		s.create()
	case n < 24:
		s.createAgain()
	case n < 46:
		s.claim()
	case n < 48:
		s.claimAgain()
	case n < 62:
		s.report()
	case n < 75:
		s.extend()
	case n < 82:
		s.cancel()
	case n < 85:
		s.changeAgain()
	case n < 96:
		s.get()
	default:
		s.look()
	}
}

// do makes a call, retries it until there is a reply, and records it. Some callers die instead of
// retrying.
func (s *session) do(op any) *calls.Call { return s.call(&calls.Call{Op: op}) }

// again repeats a call.
func (s *session) again(first *calls.Call) *calls.Call {
	return s.call(&calls.Call{Op: first.Op, Repeat: true})
}

func (s *session) call(c *calls.Call) *calls.Call {
	tolerance := s.Tolerance.Microseconds()
	c.Began = calls.Now() - tolerance
	disturbed := s.Faults.Watch()
	for range maxTries {
		s.attempt(c)
		if c.Answered() {
			break
		}
		c.Lossy, c.Abandoned = true, true
		if rand.IntN(4) == 0 {
			break
		}
		if s.Shards != nil {
			s.Shards.AwaitCalm()
		}
	}
	c.Was = calls.Now() + 1 + tolerance
	c.Lossy = c.Lossy || disturbed()
	if !c.Answered() {
		c.Was = calls.Never
	}
	s.add(c)
	if done := s.Faults.Count(); s.Shards != nil {
		s.Shards.Count(done, s.mailbox)
	}
	return c
}

const maxTries = 50

// attempt makes a call once. Sometimes its caller goes away at once.
func (s *session) attempt(c *calls.Call) {
	patience := time.Minute
	if rand.IntN(400) == 0 {
		s.lists.Lock()
		s.tally.abandoned++
		s.lists.Unlock()
		patience = rand.N(s.Pace / 2)
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	c.Perform(ctx, s.Backend)
}

// word returns a text that is unique in the session.
func (s *session) word(what string) string {
	s.lists.Lock()
	defer s.lists.Unlock()
	s.nonce++
	return what + " " + strconv.Itoa(s.nonce)
}

func (s *session) anyStore() backends.Terms { return s.stores[rand.IntN(len(s.stores))] }

func (s *session) create() {
	terms := s.anyStore()
	c := backends.Create{Terms: terms, ID: backends.NewID(s.mailbox), Mailbox: s.mailbox,
		Codec: "raw", Payload: []byte(s.word("question"))}
	if rand.IntN(3) == 0 {
		c.Headers = map[string]string{"trace": s.word("\x00<é>"), "": "\n"}
	}
	s.lists.Lock()
	s.ids = append(s.ids, calls.Get{Terms: terms, ID: c.ID})
	s.lists.Unlock()
	done := s.do(c)
	s.lists.Lock()
	defer s.lists.Unlock()
	s.creates = append(s.creates, done)
}

// createAgain repeats a Create, as a caller with an idempotency key may at any time.
func (s *session) createAgain() {
	if first, ok := s.pick(&s.creates, math.MaxInt); ok {
		s.again(first)
	}
}

// pick returns one of the newest calls.
func (s *session) pick(from *[]*calls.Call, newest int) (*calls.Call, bool) {
	s.lists.Lock()
	defer s.lists.Unlock()
	return anyOf(*from, newest)
}

func (s *session) claim() {
	c := backends.Claim{ID: backends.NewID(s.mailbox), Mailbox: s.mailbox}
	for _, i := range rand.Perm(len(s.stores))[:1+rand.IntN(len(s.stores))] {
		c.From = append(c.From, backends.From{Terms: s.stores[i], Limit: 1 + rand.IntN(2)})
	}
	done := s.do(c)
	s.lists.Lock()
	s.claims = append(s.claims, done)
	s.lists.Unlock()
	s.takeOn(done)
}

// claimAgain repeats a Claim that may be long over or still in flight.
func (s *session) claimAgain() {
	if first, ok := s.pick(&s.claims, math.MaxInt); ok {
		s.takeOn(s.again(first))
	}
}

// takeOn hands the claimed requests to workers. Some workers die at once.
func (s *session) takeOn(c *calls.Call) {
	s.lists.Lock()
	defer s.lists.Unlock()
	for i, from := range c.Claimed {
		for _, rec := range from.Records {
			if rand.IntN(10) == 0 {
				s.tally.dead++
				continue
			}
			s.held = append(s.held, work{c.Op.(backends.Claim).From[i].Terms, rec})
		}
	}
}

// extend extends or releases a claim. It may store progress.
func (s *session) extend() {
	w, ok := s.pickWork()
	if !ok {
		return
	}
	e := backends.Extend{Terms: w.terms, ID: w.rec.ID, Mailbox: w.rec.Mailbox,
		Attempt: w.rec.Attempt, StartedAt: w.rec.StartedAt}
	if rand.IntN(2) == 0 {
		e.Codec, e.Payload = "progress", s.text("progress")
	}
	if rand.IntN(3) == 0 {
		e.Release, e.After = true, s.pause(w.terms)
	}
	s.change(e)
}

// text returns a unique payload. Sometimes it is so large that it bypasses the scripts.
func (s *session) text(what string) []byte {
	text := []byte(s.word(what))
	if rand.IntN(50) == 0 {
		text = append(text, make([]byte, 33<<10)...)
	}
	return text
}

// pause returns no time, or a third or two thirds of a lease.
func (s *session) pause(t backends.Terms) time.Duration {
	return (time.Duration(rand.IntN(3)) * t.RunningTimeout / 3).Truncate(time.Microsecond)
}

func (s *session) change(op any) {
	done := s.do(op)
	s.lists.Lock()
	defer s.lists.Unlock()
	s.changes = append(s.changes, done)
}

// changeAgain repeats an Extend or a Cancel. Others may have changed the request since.
func (s *session) changeAgain() {
	if first, ok := s.pick(&s.changes, 5); ok {
		s.again(first)
	}
}

// report ends a request. The worker has often stalled past the deadline. Sometimes several workers
// report the same request.
func (s *session) report() {
	w, ok := s.pickWork()
	if !ok {
		return
	}
	outcome := []string{backends.StatusCompleted, backends.StatusFailed, "conflict"}[rand.IntN(3)]
	s.do(backends.End{
		Terms:     w.terms,
		ID:        w.rec.ID,
		Mailbox:   w.rec.Mailbox,
		Attempt:   w.rec.Attempt,
		StartedAt: w.rec.StartedAt,
		Outcome:   outcome,
		Error:     s.word("reason"),
		Codec:     "raw",
		Payload:   s.text("answer"),
	})
}

func (s *session) pickWork() (work, bool) {
	s.lists.Lock()
	defer s.lists.Unlock()
	if len(s.held) == 0 {
		return work{}, false
	}
	i := rand.IntN(len(s.held))
	w := s.held[i]
	if rand.IntN(4) != 0 {
		s.held = slices.Delete(s.held, i, i+1)
	}
	if calls.Micros(w.rec.Deadline) < calls.Now() {
		s.tally.stalled++
	}
	return w, true
}

func (s *session) anyRequest() (calls.Get, bool) {
	s.lists.Lock()
	defer s.lists.Unlock()
	return anyOf(s.ids, 20)
}

// anyOf returns one of the newest elements.
func anyOf[T any](all []T, newest int) (one T, ok bool) {
	if len(all) == 0 {
		return one, false
	}
	all = all[max(0, len(all)-newest):]
	return all[rand.IntN(len(all))], true
}

// cancel cancels one of the newest requests, or one that a worker holds.
func (s *session) cancel() {
	r, ok := s.anyRequest()
	s.lists.Lock()
	if w, held := anyOf(s.held, 5); held && rand.IntN(3) != 0 {
		r = calls.Get{Terms: w.terms, ID: w.rec.ID}
	}
	s.lists.Unlock()
	if ok {
		outcome := []string{backends.StatusCancelled, backends.StatusTimeout}[rand.IntN(2)]
		s.change(backends.Cancel{Terms: r.Terms, ID: r.ID, Outcome: outcome,
			Error: s.word("gave up"), Grace: s.pause(r.Terms)})
	}
}

func (s *session) get() {
	if r, ok := s.anyRequest(); ok {
		s.do(r)
	}
}

func (s *session) look() { s.do(calls.Look{Terms: s.anyStore(), Mailbox: s.mailbox}) }

// settle reads every request, so that the effects of calls with lost replies are seen. It retries
// each read for up to 30 seconds.
func (s *session) settle() error {
	for _, r := range s.ids {
		patience := time.Now().Add(30 * time.Second)
		for c := s.do(r); !c.Answered(); c = s.do(r) {
			if time.Now().After(patience) {
				return fmt.Errorf("no answer about %s: %w", r.ID, c.Err)
			}
		}
	}
	return nil
}

// record collects the calls of many goroutines.
type record struct {
	mu    sync.Mutex
	calls []*calls.Call
}

func (r *record) add(c *calls.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, c)
}
