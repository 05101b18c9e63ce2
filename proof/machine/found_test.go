package machine_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/internal/redistest"
)

// These are the mistakes that the state machine has found, each in as few steps as possible.

const tick = 10 * time.Millisecond

// onFakeTime runs a test on memory and on miniredis, each in a bubble.
func onFakeTime(t *testing.T, test func(*calls.Stage)) {
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(&calls.Stage{T: t, B: memory.New()}) })
	})
	t.Run("miniredis", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, client := redistest.Mini(t)
			test(&calls.Stage{T: t, B: open(t, client)})
		})
	})
}

// shortLived returns terms with short times.
func shortLived(attempts int) calls.Store {
	return calls.Store{
		Store:          "s",
		PendingTimeout: 20 * tick,
		RunningTimeout: 5 * tick,
		Retention:      tick,
		MaxAttempts:    attempts,
	}
}

// claimedIDs claims up to two requests and returns their ids.
func claimedIDs(s *calls.Stage, t calls.Store, id string) (ids []string) {
	s.Helper()
	c := calls.Poll(2, t)
	c.ID = id
	for _, rec := range s.Must(c).Claimed[0].Records {
		ids = append(ids, rec.ID)
	}
	return ids
}

func TestAnIDThatIsUsedAgainIsInTheQueue(t *testing.T) {
	onFakeTime(t, func(s *calls.Stage) {
		terms := shortLived(1)
		id := s.Pending(terms, "1")
		calls.Pass(25 * tick) // the request has timed out and is gone, but is still in the queue
		s.Pending(terms, "1")
		if got := claimedIDs(s, terms, "claim"); len(got) != 1 || got[0] != id {
			s.Errorf("claimed %v, want %s", got, id)
		}
	})
}

func TestAnIDThatIsUsedAgainIsClaimedOnce(t *testing.T) {
	onFakeTime(t, func(s *calls.Stage) {
		terms := shortLived(2)
		id := s.Pending(terms, "1")
		claimedIDs(s, terms, "first claim")
		// The lease has expired. The request has timed out and is gone, but is still in the queue.
		calls.Pass(30 * tick)
		s.Pending(terms, "1")
		if got := claimedIDs(s, terms, "second claim"); len(got) != 1 || got[0] != id {
			s.Errorf("claimed %v, want %s once", got, id)
		}
		if s.Must(terms.Look()).Pending {
			s.Error("HasPending returned true after the claim")
		}
	})
}

func TestAnExpiredLeaseOutlivesAPolicyOfOneAttempt(t *testing.T) {
	onFakeTime(t, func(s *calls.Stage) {
		terms := shortLived(3)
		id := s.Pending(terms, "1")
		claimedIDs(s, terms, "first claim")
		calls.Pass(6 * tick)
		if !s.Must(shortLived(1).Look()).Pending {
			s.Fatal("a request whose lease has expired cannot be claimed")
		}
		if got := claimedIDs(s, shortLived(1), "second claim"); len(got) != 1 || got[0] != id {
			s.Errorf("HasPending returned true, but claimed %v, want %s", got, id)
		}
	})
}

func TestAQueueOfShortLivedRequestsDoesNotGrow(t *testing.T) {
	onMini(t, func(s *calls.Stage, mini *miniredis.Miniredis) {
		for i := range 50 {
			s.Pending(shortLived(1), strconv.Itoa(i))
			calls.Pass(50 * tick) // the request has timed out and is gone, but not the queue
		}
		for _, key := range mini.Keys() {
			if entries, err := mini.ZMembers(key); err == nil && len(entries) > 20 {
				t.Errorf("%s has %d entries, but no request is live", key, len(entries))
			}
		}
	})
}
