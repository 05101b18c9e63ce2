package proof_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

// The state machine comes across this too seldom.
func TestAnExtendedRequestStaysExclusive(t *testing.T) {
	onFakeTime(t, func(s *stage) {
		terms := shortLived(1)
		terms.Exclusive = true
		id := s.running(terms, "1")
		pass(4 * tick)
		s.must(extending(terms, id))
		pass(3 * tick) // past the deadline of the claim, not of the extension
		if _, err := s.b.Create(s.Context(), question(terms, "2")); !errors.Is(err, backends.ErrBusy) {
			s.Errorf("a second request: got %v, want ErrBusy", err)
		}
	})
}

// So is this.
func TestAMailboxIsFreeOnceAGraceHasRunOut(t *testing.T) {
	onFakeTime(t, func(s *stage) {
		terms := shortLived(1)
		terms.Exclusive = true
		s.must(cancelling(terms, s.running(terms, "1"), 2*tick))
		pass(3 * tick) // past the grace, not the lease
		s.must(question(terms, "2"))
	})
}

// A server that is full refuses the key of a large payload. Then the payload goes through the
// script, which the server lets write.
func TestAFullServerTakesLargeProgress(t *testing.T) {
	client := redistest.Start(t).Client(t)
	b, err := goredis.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t, b}
	progress := withLargeProgress(extending(retried(), s.running(retried(), "1")))
	if err := client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	s.must(progress)
	if rec := s.must(get{retried(), progress.ID}).rec; !bytes.Equal(rec.Payload, progress.Payload) {
		t.Errorf("got %d bytes, want the %d bytes of the progress", len(rec.Payload), len(progress.Payload))
	}
}

func TestLargeProgressIsRemovedOnceItIsReplaced(t *testing.T) {
	onMini(t, func(s *stage, mini *miniredis.Miniredis) {
		id := s.running(retried(), "1")
		for _, step := range []struct {
			op       any
			payloads int
		}{
			{withLargeProgress(extending(retried(), id)), 1},
			{withLargeProgress(extending(retried(), id)), 1},
			{withProgress(extending(retried(), id)), 0},
			{withLargeProgress(extending(retried(), id)), 1},
			{answer(retried(), id, 1), 0},
		} {
			s.must(step.op)
			stored := slices.DeleteFunc(mini.Keys(), func(key string) bool { return !strings.Contains(key, "/p/") })
			if len(stored) != step.payloads {
				t.Errorf("after %T: got the payloads %v, want %d", step.op, stored, step.payloads)
			}
		}
	})
}
