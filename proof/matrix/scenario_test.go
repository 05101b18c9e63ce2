package matrix_test

import (
	"github.com/pendingq/pendingq/internal/calls"
	"time"
)

// scenario is an operation in a situation. Its ids are the same each time.
type scenario struct {
	name string
	// arrange makes the situation and returns the operation.
	arrange func(s *calls.Stage) any
}

var scenarios = []scenario{
	{"create", func(s *calls.Stage) any { return calls.Lasting("s").Question("1") }},
	{"create, exclusive and capped", func(s *calls.Stage) any {
		t := calls.Exclusive()
		t.MaxPending = 1
		return t.Question("1")
	}},
	{"create what is there", func(s *calls.Stage) any { s.Pending(calls.Lasting("s"), "1"); return calls.Lasting("s").Question("1") }},
	{"create what is running", func(s *calls.Stage) any { s.Running(calls.Exclusive(), "1"); return calls.Exclusive().Question("1") }},
	{"create beside a live one", func(s *calls.Stage) any { s.Running(calls.Exclusive(), "1"); return calls.Exclusive().Question("2") }},
	{"create with headers", func(s *calls.Stage) any { return calls.WithHeaders(calls.Lasting("s").Question("1")) }},
	{"create in a full mailbox", func(s *calls.Stage) any { s.Pending(calls.Capped(), "1"); return calls.Capped().Question("2") }},

	{"create with a large question", func(s *calls.Stage) any { return calls.Capped().LargeQuestion("1") }},
	{"create with a large question what is there", func(s *calls.Stage) any {
		s.Must(calls.Capped().LargeQuestion("1"))
		return calls.Capped().LargeQuestion("1")
	}},
	{"create with a large question in a full mailbox", func(s *calls.Stage) any {
		s.Pending(calls.Capped(), "1")
		return calls.Capped().LargeQuestion("2")
	}},

	{"get", func(s *calls.Stage) any { return calls.Retried().Get(s.Running(calls.Retried(), "1")) }},
	{"get what is not there", func(s *calls.Stage) any { return calls.Lasting("s").Get(calls.Lasting("s").Question("1").ID) }},
	{"has pending", func(s *calls.Stage) any { s.Pending(calls.Lasting("s"), "1"); return calls.Lasting("s").Look() }},
	{"has nothing pending", func(s *calls.Stage) any { s.Running(calls.Lasting("s"), "1"); return calls.Lasting("s").Look() }},

	{"claim", func(s *calls.Stage) any {
		s.Pending(calls.Lasting("s"), "1")
		s.Pending(calls.Lasting("s"), "2")
		return calls.Poll(1, calls.Lasting("s"))
	}},
	{"claim from four stores", func(s *calls.Stage) any {
		for _, key := range []string{"1", "2", "3"} {
			s.Pending(calls.Lasting("s"), key)
			s.Pending(calls.Retried(), key)
		}
		s.Pending(calls.Exclusive(), "1")
		return calls.Poll(2, calls.Lasting("s"), calls.Capped(), calls.Retried(), calls.Exclusive())
	}},
	{"claim a large question", func(s *calls.Stage) any {
		s.Must(calls.Retried().LargeQuestion("1"))
		s.Must(calls.Lasting("s").LargeQuestion("2"))
		return calls.Poll(2, calls.Lasting("s"), calls.Retried())
	}},
	{"claim nothing", func(s *calls.Stage) any {
		s.Running(calls.Lasting("s"), "1")
		return calls.Poll(2, calls.Lasting("s"), calls.Retried())
	}},
	{"claim again", func(s *calls.Stage) any {
		s.Pending(calls.Retried(), "1")
		s.Pending(calls.Retried(), "2")
		s.Must(calls.Poll(1, calls.Retried()))
		return calls.Poll(1, calls.Retried())
	}},

	{"extend", func(s *calls.Stage) any { return calls.Lasting("s").Extending(s.Running(calls.Lasting("s"), "1")) }},
	{"extend what may lapse", func(s *calls.Stage) any {
		return calls.Exclusive().Extending(s.Running(calls.Exclusive(), "1"))
	}},
	{"extend what is pending", func(s *calls.Stage) any {
		return calls.Lasting("s").Extending(s.Pending(calls.Lasting("s"), "1"))
	}},
	{"extend in a grace", func(s *calls.Stage) any {
		return calls.Retried().Extending(s.Cancelled(calls.Retried(), "1"))
	}},

	{"progress", func(s *calls.Stage) any {
		return calls.WithProgress(calls.Retried().Extending(s.Running(calls.Retried(), "1")))
	}},
	{"progress in place of large progress", func(s *calls.Stage) any {
		e := calls.Retried().Extending(s.Running(calls.Retried(), "1"))
		s.Must(calls.WithLargeProgress(e))
		return calls.WithProgress(e)
	}},
	{"progress at another attempt", func(s *calls.Stage) any {
		e := calls.WithProgress(calls.Retried().Extending(s.Running(calls.Retried(), "1")))
		e.Attempt = 2
		return e
	}},
	{"large progress", func(s *calls.Stage) any {
		return calls.WithLargeProgress(calls.Retried().Extending(s.Running(calls.Retried(), "1")))
	}},
	{"large progress in place of the same", func(s *calls.Stage) any {
		return s.Must(calls.WithLargeProgress(calls.Retried().Extending(s.Running(calls.Retried(), "1")))).Op
	}},
	{"large progress in a grace", func(s *calls.Stage) any {
		return calls.WithLargeProgress(calls.Retried().Extending(s.Cancelled(calls.Retried(), "1")))
	}},
	{"large progress of what is pending", func(s *calls.Stage) any {
		return calls.WithLargeProgress(calls.Lasting("s").Extending(s.Pending(calls.Lasting("s"), "1")))
	}},
	{"large progress of what has ended", func(s *calls.Stage) any {
		id := s.Running(calls.Lasting("s"), "1")
		s.Must(calls.Lasting("s").GivingUp(id))
		return calls.WithLargeProgress(calls.Lasting("s").Extending(id))
	}},

	{"release", func(s *calls.Stage) any { return calls.Retried().Releasing(s.Running(calls.Retried(), "1"), 0) }},
	{"release for later", func(s *calls.Stage) any {
		return calls.Retried().Releasing(s.Running(calls.Retried(), "1"), time.Hour)
	}},
	{"release on the last attempt", func(s *calls.Stage) any {
		return calls.Lasting("s").Releasing(s.Running(calls.Lasting("s"), "1"), time.Hour)
	}},
	{"release with large progress", func(s *calls.Stage) any {
		return calls.WithLargeProgress(calls.Retried().Releasing(s.Running(calls.Retried(), "1"), 0))
	}},
	{"release again", func(s *calls.Stage) any {
		return s.Must(calls.Retried().Releasing(s.Running(calls.Retried(), "1"), 0)).Op
	}},
	{"release what another has claimed since", func(s *calls.Stage) any {
		first := s.Must(calls.Retried().Releasing(s.Running(calls.Retried(), "1"), 0))
		s.Must(calls.Poll(1, calls.Retried()))
		return first.Op
	}},
	{"release in a grace", func(s *calls.Stage) any {
		return calls.Retried().Releasing(s.Cancelled(calls.Retried(), "1"), 0)
	}},
	{"claim what was released", func(s *calls.Stage) any {
		s.Must(calls.WithLargeProgress(calls.Retried().Releasing(s.Running(calls.Retried(), "1"), 0)))
		return calls.Poll(1, calls.Retried())
	}},

	{"end", func(s *calls.Stage) any { return calls.Lasting("s").Answer(s.Running(calls.Lasting("s"), "1"), 1) }},
	{"end what may lapse", func(s *calls.Stage) any { return calls.Exclusive().Answer(s.Running(calls.Exclusive(), "1"), 1) }},
	{"end in a grace", func(s *calls.Stage) any {
		return calls.Retried().Answer(s.Cancelled(calls.Retried(), "1"), 1)
	}},
	{"end with a large answer in a grace", func(s *calls.Stage) any {
		return calls.Retried().LargeAnswer(s.Cancelled(calls.Retried(), "1"), 1)
	}},
	{"end before any claim", func(s *calls.Stage) any { return calls.Exclusive().Answer(s.Pending(calls.Exclusive(), "1"), 0) }},
	{"end at another attempt", func(s *calls.Stage) any { return calls.Retried().Answer(s.Running(calls.Retried(), "1"), 2) }},
	{"end what has ended", func(s *calls.Stage) any {
		id := s.Running(calls.Lasting("s"), "1")
		s.Must(calls.Lasting("s").GivingUp(id))
		return calls.Lasting("s").Answer(id, 1)
	}},
	{"end with a large answer", func(s *calls.Stage) any { return calls.Exclusive().LargeAnswer(s.Running(calls.Exclusive(), "1"), 1) }},
	{"end with a large answer before any claim", func(s *calls.Stage) any {
		return calls.Retried().LargeAnswer(s.Pending(calls.Retried(), "1"), 0)
	}},
	{"end with a large answer at another attempt", func(s *calls.Stage) any {
		return calls.Retried().LargeAnswer(s.Running(calls.Retried(), "1"), 2)
	}},
	{"end with a large answer what has ended so", func(s *calls.Stage) any {
		return s.Must(calls.Lasting("s").LargeAnswer(s.Running(calls.Lasting("s"), "1"), 1)).Op
	}},
	{"get a large answer", func(s *calls.Stage) any {
		e := calls.Lasting("s").LargeAnswer(s.Running(calls.Lasting("s"), "1"), 1)
		s.Must(e)
		return calls.Store(e.Terms).Get(e.ID)
	}},
	{"give up", func(s *calls.Stage) any { return calls.Retried().GivingUp(s.Running(calls.Retried(), "1")) }},
	{"give up before any claim", func(s *calls.Stage) any { return calls.Lasting("s").GivingUp(s.Pending(calls.Lasting("s"), "1")) }},
	{"give up a large question", func(s *calls.Stage) any {
		return calls.Lasting("s").GivingUp(s.Must(calls.Lasting("s").LargeQuestion("1")).Rec.ID)
	}},
	{"give up in a grace", func(s *calls.Stage) any {
		return calls.Retried().GivingUp(s.Cancelled(calls.Retried(), "1"))
	}},

	{"cancel", func(s *calls.Stage) any {
		return calls.Retried().Cancelling(s.Running(calls.Retried(), "1"), time.Hour)
	}},
	{"cancel with a grace beyond the deadline", func(s *calls.Stage) any {
		return calls.Lasting("s").Cancelling(s.Running(calls.Lasting("s"), "1"), 5*time.Hour)
	}},
	{"cancel what has large progress", func(s *calls.Stage) any {
		id := s.Running(calls.Exclusive(), "1")
		s.Must(calls.WithLargeProgress(calls.Exclusive().Extending(id)))
		return calls.Exclusive().Cancelling(id, time.Hour)
	}},
	{"cancel before any claim", func(s *calls.Stage) any {
		return calls.Lasting("s").Cancelling(s.Pending(calls.Lasting("s"), "1"), time.Hour)
	}},
	{"cancel what was released", func(s *calls.Stage) any {
		id := s.Running(calls.Retried(), "1")
		s.Must(calls.Retried().Releasing(id, 0))
		return calls.Retried().Cancelling(id, time.Hour)
	}},
	{"cancel for another reason", func(s *calls.Stage) any {
		c := calls.Retried().Cancelling(s.Cancelled(calls.Retried(), "1"), time.Hour/2)
		c.Error = "another reason"
		return c
	}},
	{"cancel what has ended", func(s *calls.Stage) any {
		id := s.Running(calls.Retried(), "1")
		s.Must(calls.Retried().LargeAnswer(id, 1))
		return calls.Retried().Cancelling(id, time.Hour)
	}},
}
