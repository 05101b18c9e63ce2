package proof_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// A session is a mailbox of four stores with requesters, workers, and front ends that give up, all at once, all
// recorded. Its times are so short that claims lapse and requests time out all the time.
type session struct {
	ctx     context.Context
	b       backends.Backend
	env     *environment
	mailbox string
	stores  []backends.Terms

	record
	tally tally

	lists   sync.Mutex
	ids     []get   // every request that a Create was sent for
	held    []work  // claims that their workers have not reported yet
	creates []*call // to repeat
	claims  []*call // to repeat
	nonce   int
}

// work is a request in the hands of a worker.
type work struct {
	terms backends.Terms
	rec   backends.Record
}

// tally counts what happened on purpose.
type tally struct {
	dead, stalled int
	losses        losses
}

const (
	actors    = 8
	perActor  = 60
	retention = time.Minute // longer than a session
)

// sessionStores are the stores of a session, whose times are so many milliseconds times its pace.
func sessionStores(pace time.Duration) []backends.Terms {
	terms := func(name string, running time.Duration, attempts int) backends.Terms {
		return backends.Terms{Store: name, PendingTimeout: 30 * pace, RunningTimeout: running * pace,
			Retention: retention, MaxAttempts: attempts}
	}
	plain, retried := terms("plain", 12, 1), terms("retried", 4, 3)
	capped, exclusive := terms("capped", 12, 1), terms("exclusive", 6, 2)
	capped.MaxPending, exclusive.Exclusive = 4, true
	return []backends.Terms{plain, retried, capped, exclusive}
}

// run lets the actors act, waits for them, and reads every request a last time. It returns the fail-overs that may
// have lost something of what they did.
func (s *session) run() ([]failOver, error) {
	began := clockMicros()
	var wg sync.WaitGroup
	for range actors {
		wg.Go(func() {
			for range perActor {
				s.act()
			}
		})
	}
	wg.Wait()
	if err := s.settle(); err != nil || s.env.shards == nil {
		return nil, err
	}
	ended := clockMicros()
	s.env.awaitCalm()
	return s.env.shards.lossesOf(s.ctx, s.mailbox, began, ended)
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
	case n < 78:
		s.report()
	case n < 84:
		s.giveUp()
	case n < 96:
		s.get()
	default:
		s.look()
	}
}

// do makes a call, again as long as nobody answers, and records it. Some callers die instead of trying again.
func (s *session) do(op any) *call { return s.call(&call{op: op}) }

// again makes a call that has been made before.
func (s *session) again(first *call) *call { return s.call(&call{op: first.op, repeat: true}) }

func (s *session) call(c *call) *call {
	c.began = clockMicros()
	before, calm := s.env.disturbances()
	c.lossy = !calm
	for range maxTries {
		s.attempt(c)
		if c.answered() {
			break
		}
		c.lossy, c.abandoned = true, true
		if rand.IntN(4) == 0 {
			break
		}
		s.env.awaitCalm()
	}
	c.was = clockMicros() + 1
	if now, _ := s.env.disturbances(); now != before {
		c.lossy = true
	}
	if !c.answered() {
		c.was = never
	}
	s.add(c)
	s.env.count(s.mailbox)
	return c
}

const maxTries = 50

func (s *session) attempt(c *call) {
	ctx, cancel := s.env.callContext(s.ctx)
	defer cancel()
	c.perform(ctx, s.b)
}

// word returns a text that no other call has.
func (s *session) word(what string) string {
	s.lists.Lock()
	defer s.lists.Unlock()
	s.nonce++
	return what + " " + strconv.Itoa(s.nonce)
}

func (s *session) anyStore() backends.Terms { return s.stores[rand.IntN(len(s.stores))] }

func (s *session) create() {
	terms := s.anyStore()
	c := backends.Create{Terms: terms, ID: backends.NewID(s.mailbox), Mailbox: s.mailbox, Codec: "raw",
		Payload: []byte(s.word("question"))}
	s.lists.Lock()
	s.ids = append(s.ids, get{terms, c.ID})
	s.lists.Unlock()
	done := s.do(c)
	s.lists.Lock()
	defer s.lists.Unlock()
	s.creates = append(s.creates, done)
}

// createAgain repeats a Create, as a caller with an idempotency key may, whatever has become of the first.
func (s *session) createAgain() {
	if first := s.pick(&s.creates); first != nil {
		s.again(first)
	}
}

func (s *session) pick(from *[]*call) *call {
	s.lists.Lock()
	defer s.lists.Unlock()
	if len(*from) == 0 {
		return nil
	}
	return (*from)[rand.IntN(len(*from))]
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

// claimAgain repeats a Claim that may be long over, or still under way.
func (s *session) claimAgain() {
	if first := s.pick(&s.claims); first != nil {
		s.takeOn(s.again(first))
	}
}

// takeOn hands what was claimed to workers. Some of them die at once.
func (s *session) takeOn(c *call) {
	s.lists.Lock()
	defer s.lists.Unlock()
	for i, from := range c.claimed {
		for _, rec := range from.Records {
			if rand.IntN(10) == 0 {
				s.tally.dead++
				continue
			}
			s.held = append(s.held, work{c.op.(backends.Claim).From[i].Terms, rec})
		}
	}
}

// report ends a request or extends its claim. Whoever picks the oldest has often stalled past its deadline; now
// and then several report the same.
func (s *session) report() {
	w, ok := s.pickWork()
	if !ok {
		return
	}
	if rand.IntN(6) == 0 {
		s.do(backends.Extend{Terms: w.terms, ID: w.rec.ID, Attempt: w.rec.Attempt})
		return
	}
	outcome := []string{backends.StatusCompleted, backends.StatusFailed, "conflict"}[rand.IntN(3)]
	end := backends.End{Terms: w.terms, ID: w.rec.ID, Mailbox: w.rec.Mailbox, Outcome: outcome, Error: s.word("reason"),
		Attempt: w.rec.Attempt, Codec: "raw", Payload: []byte(s.word("answer"))}
	if rand.IntN(50) == 0 { // one that passes by the scripts
		end.Payload = append(end.Payload, make([]byte, 33<<10)...)
	}
	s.do(end)
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
	if micros(w.rec.Deadline) < clockMicros() {
		s.tally.stalled++
	}
	return w, true
}

func (s *session) anyRequest() (get, bool) {
	s.lists.Lock()
	defer s.lists.Unlock()
	if len(s.ids) == 0 {
		return get{}, false
	}
	newest := s.ids[max(0, len(s.ids)-20):]
	return newest[rand.IntN(len(newest))], true
}

func (s *session) giveUp() {
	if r, ok := s.anyRequest(); ok {
		s.do(backends.Cancel{Terms: r.Terms, ID: r.id, Outcome: backends.StatusTimeout, Error: s.word("gave up")})
	}
}

func (s *session) get() {
	if r, ok := s.anyRequest(); ok {
		s.do(r)
	}
}

func (s *session) look() { s.do(look{s.anyStore(), s.mailbox}) }

// settle reads every request, so that what nobody was told about is seen. It insists for a while.
func (s *session) settle() error {
	patience := time.Now().Add(30 * time.Second)
	for _, r := range s.ids {
		for c := s.do(r); !c.answered(); c = s.do(r) {
			if time.Now().After(patience) {
				return fmt.Errorf("no answer about %s: %w", r.id, c.err)
			}
		}
	}
	return nil
}
