package proof_test

import (
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/alicebob/miniredis/v2"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/redistest"
)

// What the state machine has found wrong, in as few steps as show it.

// onFakeTime runs a test on memory and on miniredis, each in a bubble.
func onFakeTime(t *testing.T, test func(*stage)) {
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(&stage{t, memory.New()}) })
	})
	t.Run("miniredis", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, client := redistest.Mini(t)
			b, err := goredis.New(client, nil)
			if err != nil {
				t.Fatal(err)
			}
			test(&stage{t, b})
		})
	})
}

// shortLived are terms under which a request is soon gone.
func shortLived(attempts int) backends.Terms {
	return backends.Terms{Store: "s", PendingTimeout: 20 * tick, RunningTimeout: 5 * tick, Retention: tick, MaxAttempts: attempts}
}

// poll claims up to two requests and returns their ids.
func (s *stage) poll(t backends.Terms, id string) (ids []string) {
	s.Helper()
	c := poll(2, t)
	c.ID = id
	for _, rec := range s.must(c).claimed[0].Records {
		ids = append(ids, rec.ID)
	}
	return ids
}

func TestAnIDThatIsUsedAgainIsInTheQueue(t *testing.T) {
	onFakeTime(t, func(s *stage) {
		terms := shortLived(1)
		id := s.pending(terms, "1")
		pass(25 * tick) // it has timed out and is gone, its entry in the queue is not
		s.pending(terms, "1")
		if got := s.poll(terms, "claim"); len(got) != 1 || got[0] != id {
			s.Errorf("claimed %v, want %s", got, id)
		}
	})
}

func TestAnIDThatIsUsedAgainIsClaimedOnce(t *testing.T) {
	onFakeTime(t, func(s *stage) {
		terms := shortLived(2)
		id := s.pending(terms, "1")
		s.poll(terms, "first claim")
		pass(30 * tick) // it has lapsed and timed out and is gone, its entry among the lapsed is not
		s.pending(terms, "1")
		if got := s.poll(terms, "second claim"); len(got) != 1 || got[0] != id {
			s.Errorf("claimed %v, want %s once", got, id)
		}
		if s.must(look{terms, box}).pending {
			s.Error("there is something left to claim")
		}
	})
}

func TestALapsedRequestOutlivesAPolicyOfOneAttempt(t *testing.T) {
	onFakeTime(t, func(s *stage) {
		terms := shortLived(3)
		id := s.pending(terms, "1")
		s.poll(terms, "first claim")
		pass(6 * tick)
		if !s.must(look{shortLived(1), box}).pending {
			s.Fatal("a lapsed request cannot be claimed")
		}
		if got := s.poll(shortLived(1), "second claim"); len(got) != 1 || got[0] != id {
			s.Errorf("HasPending saw it, but claimed %v, want %s", got, id)
		}
	})
}

func TestAQueueOfShortLivedRequestsDoesNotGrow(t *testing.T) {
	onMini(t, func(s *stage, mini *miniredis.Miniredis) {
		for i := range 50 {
			s.pending(shortLived(1), strconv.Itoa(i))
			pass(50 * tick) // all before have timed out and are gone, the queue is not
		}
		for _, key := range mini.Keys() {
			if entries, err := mini.ZMembers(key); err == nil && len(entries) > 20 {
				t.Errorf("%s has %d entries, and nothing is live", key, len(entries))
			}
		}
	})
}
