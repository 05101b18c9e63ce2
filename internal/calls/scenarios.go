package calls

import "time"

// The stores of the scenarios.
var plain, retried, exclusive, capped = Lasting("s"), Retried(), Exclusive(), Capped()

// Stores are the stores of all scenarios.
var Stores = []Store{plain, retried, exclusive, capped}

// Scenario is an operation in a situation. Its ids are the same each time.
type Scenario struct {
	Name string
	// Arrange makes the situation and returns the operation.
	Arrange func(s *Stage) any
}

// Scenarios are the situations of the lost-reply matrix, on each backend.
var Scenarios = []Scenario{
	{"create", func(*Stage) any { return plain.Question("1") }},
	{"create, exclusive and capped", func(s *Stage) any {
		t := exclusive
		t.MaxPending = 1
		return t.Question("1")
	}},
	{"create an existing request", func(s *Stage) any {
		s.Pending(plain, "1")
		return plain.Question("1")
	}},
	{"create a running request", func(s *Stage) any {
		s.Running(exclusive, "1")
		return exclusive.Question("1")
	}},
	{"create beside a live request", func(s *Stage) any {
		s.Running(exclusive, "1")
		return exclusive.Question("2")
	}},
	{"create with headers", func(s *Stage) any { return WithHeaders(plain.Question("1")) }},
	{"create in a full mailbox", func(s *Stage) any {
		s.Pending(capped, "1")
		return capped.Question("2")
	}},

	{"create with a large question", func(s *Stage) any { return capped.LargeQuestion("1") }},
	{"create an existing request with a large question", func(s *Stage) any {
		s.Must(capped.LargeQuestion("1"))
		return capped.LargeQuestion("1")
	}},
	{"create with a large question in a full mailbox", func(s *Stage) any {
		s.Pending(capped, "1")
		return capped.LargeQuestion("2")
	}},

	{"get", func(s *Stage) any { return retried.Get(s.Running(retried, "1")) }},
	{"get a missing request", func(s *Stage) any { return plain.Get(plain.Question("1").ID) }},
	{"has pending", func(s *Stage) any { s.Pending(plain, "1"); return plain.Look() }},
	{"has nothing pending", func(s *Stage) any { s.Running(plain, "1"); return plain.Look() }},

	{"claim", func(s *Stage) any {
		s.Pending(plain, "1")
		s.Pending(plain, "2")
		return Poll(1, plain)
	}},
	{"claim from four stores", func(s *Stage) any {
		for _, key := range []string{"1", "2", "3"} {
			s.Pending(plain, key)
			s.Pending(retried, key)
		}
		s.Pending(exclusive, "1")
		return Poll(2, plain, capped, retried, exclusive)
	}},
	{"claim a large question", func(s *Stage) any {
		s.Must(retried.LargeQuestion("1"))
		s.Must(plain.LargeQuestion("2"))
		return Poll(2, plain, retried)
	}},
	{"claim nothing", func(s *Stage) any {
		s.Running(plain, "1")
		return Poll(2, plain, retried)
	}},
	{"repeat a claim", func(s *Stage) any {
		s.Pending(retried, "1")
		s.Pending(retried, "2")
		s.Must(Poll(1, retried))
		return Poll(1, retried)
	}},

	{"extend", func(s *Stage) any { return plain.Extending(s.Running(plain, "1")) }},
	{"extend with an attempt left", func(s *Stage) any {
		return exclusive.Extending(s.Running(exclusive, "1"))
	}},
	{"extend a pending request", func(s *Stage) any {
		return plain.Extending(s.Pending(plain, "1"))
	}},
	{"extend in a grace", func(s *Stage) any {
		return retried.Extending(s.Cancelled(retried, "1"))
	}},

	{"progress", func(s *Stage) any {
		return WithProgress(retried.Extending(s.Running(retried, "1")))
	}},
	{"progress replaces large progress", func(s *Stage) any {
		e := retried.Extending(s.Running(retried, "1"))
		s.Must(WithLargeProgress(e))
		return WithProgress(e)
	}},
	{"progress at another attempt", func(s *Stage) any {
		e := WithProgress(retried.Extending(s.Running(retried, "1")))
		e.Attempt = 2
		return e
	}},
	{"large progress", func(s *Stage) any {
		return WithLargeProgress(retried.Extending(s.Running(retried, "1")))
	}},
	{"repeat large progress", func(s *Stage) any {
		return s.Must(WithLargeProgress(retried.Extending(s.Running(retried, "1")))).Op
	}},
	{"large progress in a grace", func(s *Stage) any {
		return WithLargeProgress(retried.Extending(s.Cancelled(retried, "1")))
	}},
	{"large progress of a pending request", func(s *Stage) any {
		return WithLargeProgress(plain.Extending(s.Pending(plain, "1")))
	}},
	{"large progress of an ended request", func(s *Stage) any {
		id := s.Running(plain, "1")
		s.Must(plain.GivingUp(id))
		return WithLargeProgress(plain.Extending(id))
	}},

	{"release", func(s *Stage) any { return retried.Releasing(s.Running(retried, "1"), 0) }},
	{"release for later", func(s *Stage) any {
		return retried.Releasing(s.Running(retried, "1"), time.Hour)
	}},
	{"release on the last attempt", func(s *Stage) any {
		return plain.Releasing(s.Running(plain, "1"), time.Hour)
	}},
	{"release with large progress", func(s *Stage) any {
		return WithLargeProgress(retried.Releasing(s.Running(retried, "1"), 0))
	}},
	{"repeat a release", func(s *Stage) any {
		return s.Must(retried.Releasing(s.Running(retried, "1"), 0)).Op
	}},
	{"repeat a release after the next claim", func(s *Stage) any {
		first := s.Must(retried.Releasing(s.Running(retried, "1"), 0))
		s.Must(Poll(1, retried))
		return first.Op
	}},
	{"release in a grace", func(s *Stage) any {
		return retried.Releasing(s.Cancelled(retried, "1"), 0)
	}},
	{"has a released request pending", func(s *Stage) any {
		id := s.Running(retried, "1")
		s.Must(retried.Releasing(id, 0))
		return retried.Look()
	}},
	{"claim a released request", func(s *Stage) any {
		s.Must(WithLargeProgress(retried.Releasing(s.Running(retried, "1"), 0)))
		return Poll(1, retried)
	}},

	{"end", func(s *Stage) any { return plain.Answer(s.Running(plain, "1"), 1) }},
	{"end with an attempt left", func(s *Stage) any {
		return exclusive.Answer(s.Running(exclusive, "1"), 1)
	}},
	{"end in a grace", func(s *Stage) any {
		return retried.Answer(s.Cancelled(retried, "1"), 1)
	}},
	{"end with a large answer in a grace", func(s *Stage) any {
		return retried.LargeAnswer(s.Cancelled(retried, "1"), 1)
	}},
	{"end before any claim", func(s *Stage) any {
		return exclusive.Answer(s.Pending(exclusive, "1"), 0)
	}},
	{"end at another attempt", func(s *Stage) any {
		return retried.Answer(s.Running(retried, "1"), 2)
	}},
	{"end an ended request", func(s *Stage) any {
		id := s.Running(plain, "1")
		s.Must(plain.GivingUp(id))
		return plain.Answer(id, 1)
	}},
	{"end with a large answer", func(s *Stage) any {
		return exclusive.LargeAnswer(s.Running(exclusive, "1"), 1)
	}},
	{"end with a large answer before any claim", func(s *Stage) any {
		return retried.LargeAnswer(s.Pending(retried, "1"), 0)
	}},
	{"end with a large answer at another attempt", func(s *Stage) any {
		return retried.LargeAnswer(s.Running(retried, "1"), 2)
	}},
	{"repeat an end with a large answer", func(s *Stage) any {
		return s.Must(plain.LargeAnswer(s.Running(plain, "1"), 1)).Op
	}},
	{"get a large answer", func(s *Stage) any {
		e := plain.LargeAnswer(s.Running(plain, "1"), 1)
		s.Must(e)
		return Store(e.Terms).Get(e.ID)
	}},
	{"give up", func(s *Stage) any { return retried.GivingUp(s.Running(retried, "1")) }},
	{"give up before any claim", func(s *Stage) any { return plain.GivingUp(s.Pending(plain, "1")) }},
	{"give up a large question", func(s *Stage) any {
		return plain.GivingUp(s.Must(plain.LargeQuestion("1")).Rec.ID)
	}},
	{"give up in a grace", func(s *Stage) any {
		return retried.GivingUp(s.Cancelled(retried, "1"))
	}},

	{"cancel", func(s *Stage) any {
		return retried.Cancelling(s.Running(retried, "1"), time.Hour)
	}},
	{"cancel with a grace beyond the deadline", func(s *Stage) any {
		return plain.Cancelling(s.Running(plain, "1"), 5*time.Hour)
	}},
	{"cancel a request with large progress", func(s *Stage) any {
		id := s.Running(exclusive, "1")
		s.Must(WithLargeProgress(exclusive.Extending(id)))
		return exclusive.Cancelling(id, time.Hour)
	}},
	{"cancel before any claim", func(s *Stage) any {
		return plain.Cancelling(s.Pending(plain, "1"), time.Hour)
	}},
	{"cancel a released request", func(s *Stage) any {
		id := s.Running(retried, "1")
		s.Must(retried.Releasing(id, 0))
		return retried.Cancelling(id, time.Hour)
	}},
	{"cancel for another reason", func(s *Stage) any {
		c := retried.Cancelling(s.Cancelled(retried, "1"), time.Hour/2)
		c.Error = "another reason"
		return c
	}},
	{"cancel an ended request", func(s *Stage) any {
		id := s.Running(retried, "1")
		s.Must(retried.LargeAnswer(id, 1))
		return retried.Cancelling(id, time.Hour)
	}},
}
