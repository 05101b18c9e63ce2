package proof_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// scenario is an operation in a situation. Its ids are the same each time.
type scenario struct {
	name string
	// arrange makes the situation and returns the operation.
	arrange func(s *stage) any
}

// stage is where a scenario is arranged, past all faults. Its methods end the test when they do not
// work.
type stage struct {
	*testing.T
	b backends.Backend
}

const box = "runtime-1"

// lasting are terms under which nothing runs out, with times that tell each other apart.
func lasting(store string) backends.Terms {
	return backends.Terms{Store: store, PendingTimeout: time.Hour, RunningTimeout: 2 * time.Hour, Retention: 4 * time.Hour,
		MaxAttempts: 1}
}

func retried() backends.Terms {
	t := lasting("retried")
	t.MaxAttempts = 3
	return t
}

func exclusive() backends.Terms {
	t := lasting("exclusive")
	t.Exclusive, t.MaxAttempts = true, 2
	return t
}

func capped() backends.Terms {
	t := lasting("capped")
	t.MaxPending = 1
	return t
}

// question is a new request; each key makes an id of its own.
func question(t backends.Terms, key string) backends.Create {
	return backends.Create{Terms: t, ID: backends.DeriveID(t.Store, box, key), Mailbox: box, Codec: "raw",
		Payload: []byte("question " + key)}
}

func poll(limit int, stores ...backends.Terms) backends.Claim {
	c := backends.Claim{ID: "claim", Mailbox: box}
	for _, t := range stores {
		c.From = append(c.From, backends.From{Terms: t, Limit: limit})
	}
	return c
}

func answer(t backends.Terms, id string, attempt int) backends.End {
	return backends.End{Terms: t, ID: id, Outcome: backends.StatusFailed, Error: "why", Attempt: attempt, Codec: "other",
		Payload: []byte("answer")}
}

// largeQuestion has a key of its own.
func largeQuestion(t backends.Terms, key string) backends.Create {
	c := question(t, key)
	c.Payload = bytes.Repeat([]byte("question"), 10_000)
	return c
}

// largeAnswer has a key of its own.
func largeAnswer(t backends.Terms, id string, attempt int) backends.End {
	e := answer(t, id, attempt)
	e.Mailbox, e.Payload = box, bytes.Repeat([]byte("answer"), 10_000)
	return e
}

func givingUp(t backends.Terms, id string) backends.Cancel {
	return backends.Cancel{Terms: t, ID: id, Outcome: backends.StatusTimeout, Error: "gave up"}
}

// cancelling leaves the worker a grace.
func cancelling(t backends.Terms, id string, grace time.Duration) backends.Cancel {
	return backends.Cancel{Terms: t, ID: id, Outcome: backends.StatusCancelled, Error: "not needed",
		Grace: grace}
}

func withHeaders(c backends.Create) backends.Create {
	c.Headers = map[string]string{"trace": "\x00<é>", "": "\n"}
	return c
}

func extending(t backends.Terms, id string) backends.Extend {
	return backends.Extend{Terms: t, ID: id, Attempt: 1}
}

func withProgress(e backends.Extend) backends.Extend {
	e.Codec, e.Payload = "progress", []byte("half")
	return e
}

func releasing(t backends.Terms, id string, after time.Duration) backends.Extend {
	return backends.Extend{Terms: t, ID: id, Attempt: 1, Release: true, After: after}
}

// withLargeProgress has a key of its own.
func withLargeProgress(e backends.Extend) backends.Extend {
	e.Codec, e.Payload, e.Mailbox = "progress", bytes.Repeat([]byte("half"), 10_000), box
	return e
}

func (s *stage) must(op any) *call {
	s.Helper()
	c := &call{op: op}
	if c.perform(s.Context(), s.b); c.err != nil {
		s.Fatalf("arranging %T: %v", op, c.err)
	}
	return c
}

func (s *stage) pending(t backends.Terms, key string) string {
	s.Helper()
	return s.must(withHeaders(question(t, key))).rec.ID
}

func (s *stage) running(t backends.Terms, key string) string {
	s.Helper()
	id := s.pending(t, key)
	c := poll(1, t)
	c.ID = "earlier claim"
	s.must(c)
	return id
}

// cancelled has a cancel noted.
func (s *stage) cancelled(t backends.Terms, key string) string {
	s.Helper()
	id := s.running(t, key)
	s.must(cancelling(t, id, time.Hour))
	return id
}

var scenarios = []scenario{
	{"create", func(s *stage) any { return question(lasting("s"), "1") }},
	{"create, exclusive and capped", func(s *stage) any {
		t := exclusive()
		t.MaxPending = 1
		return question(t, "1")
	}},
	{"create what is there", func(s *stage) any { s.pending(lasting("s"), "1"); return question(lasting("s"), "1") }},
	{"create what is running", func(s *stage) any { s.running(exclusive(), "1"); return question(exclusive(), "1") }},
	{"create beside a live one", func(s *stage) any { s.running(exclusive(), "1"); return question(exclusive(), "2") }},
	{"create with headers", func(s *stage) any { return withHeaders(question(lasting("s"), "1")) }},
	{"create in a full mailbox", func(s *stage) any { s.pending(capped(), "1"); return question(capped(), "2") }},

	{"create with a large question", func(s *stage) any { return largeQuestion(capped(), "1") }},
	{"create with a large question what is there", func(s *stage) any {
		s.must(largeQuestion(capped(), "1"))
		return largeQuestion(capped(), "1")
	}},
	{"create with a large question in a full mailbox", func(s *stage) any {
		s.pending(capped(), "1")
		return largeQuestion(capped(), "2")
	}},

	{"get", func(s *stage) any { return get{retried(), s.running(retried(), "1")} }},
	{"get what is not there", func(s *stage) any { return get{lasting("s"), question(lasting("s"), "1").ID} }},
	{"has pending", func(s *stage) any { s.pending(lasting("s"), "1"); return look{lasting("s"), box} }},
	{"has nothing pending", func(s *stage) any { s.running(lasting("s"), "1"); return look{lasting("s"), box} }},

	{"claim", func(s *stage) any {
		s.pending(lasting("s"), "1")
		s.pending(lasting("s"), "2")
		return poll(1, lasting("s"))
	}},
	{"claim from four stores", func(s *stage) any {
		for _, key := range []string{"1", "2", "3"} {
			s.pending(lasting("s"), key)
			s.pending(retried(), key)
		}
		s.pending(exclusive(), "1")
		return poll(2, lasting("s"), capped(), retried(), exclusive())
	}},
	{"claim a large question", func(s *stage) any {
		s.must(largeQuestion(retried(), "1"))
		s.must(largeQuestion(lasting("s"), "2"))
		return poll(2, lasting("s"), retried())
	}},
	{"claim nothing", func(s *stage) any { s.running(lasting("s"), "1"); return poll(2, lasting("s"), retried()) }},
	{"claim again", func(s *stage) any {
		s.pending(retried(), "1")
		s.pending(retried(), "2")
		s.must(poll(1, retried()))
		return poll(1, retried())
	}},

	{"extend", func(s *stage) any { return extending(lasting("s"), s.running(lasting("s"), "1")) }},
	{"extend what may lapse", func(s *stage) any {
		return extending(exclusive(), s.running(exclusive(), "1"))
	}},
	{"extend what is pending", func(s *stage) any {
		return extending(lasting("s"), s.pending(lasting("s"), "1"))
	}},
	{"extend in a grace", func(s *stage) any {
		return extending(retried(), s.cancelled(retried(), "1"))
	}},

	{"progress", func(s *stage) any {
		return withProgress(extending(retried(), s.running(retried(), "1")))
	}},
	{"progress in place of large progress", func(s *stage) any {
		e := extending(retried(), s.running(retried(), "1"))
		s.must(withLargeProgress(e))
		return withProgress(e)
	}},
	{"progress at another attempt", func(s *stage) any {
		e := withProgress(extending(retried(), s.running(retried(), "1")))
		e.Attempt = 2
		return e
	}},
	{"large progress", func(s *stage) any {
		return withLargeProgress(extending(retried(), s.running(retried(), "1")))
	}},
	{"large progress in place of the same", func(s *stage) any {
		return s.must(withLargeProgress(extending(retried(), s.running(retried(), "1")))).op
	}},
	{"large progress in a grace", func(s *stage) any {
		return withLargeProgress(extending(retried(), s.cancelled(retried(), "1")))
	}},
	{"large progress of what is pending", func(s *stage) any {
		return withLargeProgress(extending(lasting("s"), s.pending(lasting("s"), "1")))
	}},
	{"large progress of what has ended", func(s *stage) any {
		id := s.running(lasting("s"), "1")
		s.must(givingUp(lasting("s"), id))
		return withLargeProgress(extending(lasting("s"), id))
	}},

	{"release", func(s *stage) any { return releasing(retried(), s.running(retried(), "1"), 0) }},
	{"release for later", func(s *stage) any {
		return releasing(retried(), s.running(retried(), "1"), time.Hour)
	}},
	{"release on the last attempt", func(s *stage) any {
		return releasing(lasting("s"), s.running(lasting("s"), "1"), time.Hour)
	}},
	{"release with large progress", func(s *stage) any {
		return withLargeProgress(releasing(retried(), s.running(retried(), "1"), 0))
	}},
	{"release again", func(s *stage) any {
		return s.must(releasing(retried(), s.running(retried(), "1"), 0)).op
	}},
	{"release what another has claimed since", func(s *stage) any {
		first := s.must(releasing(retried(), s.running(retried(), "1"), 0))
		s.must(poll(1, retried()))
		return first.op
	}},
	{"release in a grace", func(s *stage) any {
		return releasing(retried(), s.cancelled(retried(), "1"), 0)
	}},
	{"claim what was released", func(s *stage) any {
		s.must(withLargeProgress(releasing(retried(), s.running(retried(), "1"), 0)))
		return poll(1, retried())
	}},

	{"end", func(s *stage) any { return answer(lasting("s"), s.running(lasting("s"), "1"), 1) }},
	{"end what may lapse", func(s *stage) any { return answer(exclusive(), s.running(exclusive(), "1"), 1) }},
	{"end in a grace", func(s *stage) any {
		return answer(retried(), s.cancelled(retried(), "1"), 1)
	}},
	{"end with a large answer in a grace", func(s *stage) any {
		return largeAnswer(retried(), s.cancelled(retried(), "1"), 1)
	}},
	{"end before any claim", func(s *stage) any { return answer(exclusive(), s.pending(exclusive(), "1"), 0) }},
	{"end at another attempt", func(s *stage) any { return answer(retried(), s.running(retried(), "1"), 2) }},
	{"end what has ended", func(s *stage) any {
		id := s.running(lasting("s"), "1")
		s.must(givingUp(lasting("s"), id))
		return answer(lasting("s"), id, 1)
	}},
	{"end with a large answer", func(s *stage) any { return largeAnswer(exclusive(), s.running(exclusive(), "1"), 1) }},
	{"end with a large answer before any claim", func(s *stage) any {
		return largeAnswer(retried(), s.pending(retried(), "1"), 0)
	}},
	{"end with a large answer at another attempt", func(s *stage) any {
		return largeAnswer(retried(), s.running(retried(), "1"), 2)
	}},
	{"end with a large answer what has ended so", func(s *stage) any {
		return s.must(largeAnswer(lasting("s"), s.running(lasting("s"), "1"), 1)).op
	}},
	{"get a large answer", func(s *stage) any {
		e := largeAnswer(lasting("s"), s.running(lasting("s"), "1"), 1)
		s.must(e)
		return get{e.Terms, e.ID}
	}},
	{"give up", func(s *stage) any { return givingUp(retried(), s.running(retried(), "1")) }},
	{"give up before any claim", func(s *stage) any { return givingUp(lasting("s"), s.pending(lasting("s"), "1")) }},
	{"give up a large question", func(s *stage) any {
		return givingUp(lasting("s"), s.must(largeQuestion(lasting("s"), "1")).rec.ID)
	}},
	{"give up in a grace", func(s *stage) any {
		return givingUp(retried(), s.cancelled(retried(), "1"))
	}},

	{"cancel", func(s *stage) any {
		return cancelling(retried(), s.running(retried(), "1"), time.Hour)
	}},
	{"cancel with a grace beyond the deadline", func(s *stage) any {
		return cancelling(lasting("s"), s.running(lasting("s"), "1"), 5*time.Hour)
	}},
	{"cancel what has large progress", func(s *stage) any {
		id := s.running(exclusive(), "1")
		s.must(withLargeProgress(extending(exclusive(), id)))
		return cancelling(exclusive(), id, time.Hour)
	}},
	{"cancel before any claim", func(s *stage) any {
		return cancelling(lasting("s"), s.pending(lasting("s"), "1"), time.Hour)
	}},
	{"cancel what was released", func(s *stage) any {
		id := s.running(retried(), "1")
		s.must(releasing(retried(), id, 0))
		return cancelling(retried(), id, time.Hour)
	}},
	{"cancel for another reason", func(s *stage) any {
		c := cancelling(retried(), s.cancelled(retried(), "1"), time.Hour/2)
		c.Error = "another reason"
		return c
	}},
	{"cancel what has ended", func(s *stage) any {
		id := s.running(retried(), "1")
		s.must(largeAnswer(retried(), id, 1))
		return cancelling(retried(), id, time.Hour)
	}},
}
