package machine_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/internal/redistest"
)

// The state machine rarely makes this sequence.
func TestAnExtendedRequestStaysExclusive(t *testing.T) {
	onFakeTime(t, func(s *calls.Stage) {
		terms := shortLived(1)
		terms.Exclusive = true
		id := s.Running(terms, "1")
		calls.Pass(4 * tick)
		s.Must(terms.Extending(id))
		calls.Pass(3 * tick) // past the deadline of the claim, not of the extension
		_, err := s.B.Create(s.Context(), terms.Question("2"))
		if !errors.Is(err, backends.ErrBusy) {
			s.Errorf("a second request: got %v, want ErrBusy", err)
		}
	})
}

// The state machine rarely makes this sequence, either.
func TestAMailboxIsFreeOnceAGraceHasRunOut(t *testing.T) {
	onFakeTime(t, func(s *calls.Stage) {
		terms := shortLived(1)
		terms.Exclusive = true
		s.Must(terms.Cancelling(s.Running(terms, "1"), 2*tick))
		calls.Pass(3 * tick) // past the grace, not the lease
		s.Must(terms.Question("2"))
	})
}

// A server whose memory is full refuses the key of a large payload. Then the script stores the
// payload itself, since the server still lets scripts write.
func TestAFullServerTakesLargeProgress(t *testing.T) {
	client := redistest.Start(t).Client(t)
	s := &calls.Stage{T: t, B: open(t, client)}
	id := s.Running(calls.Retried(), "1")
	progress := calls.WithLargeProgress(calls.Retried().Extending(id))
	if err := client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	s.Must(progress)
	got := s.Must(calls.Retried().Get(id)).Rec.Payload
	if !bytes.Equal(got, progress.Payload) {
		t.Errorf("got %d bytes, want the %d bytes of the progress", len(got), len(progress.Payload))
	}
}

func TestLargeProgressIsRemovedOnceItIsReplaced(t *testing.T) {
	onMini(t, func(s *calls.Stage, mini *miniredis.Miniredis) {
		id := s.Running(calls.Retried(), "1")
		for _, step := range []struct {
			op       any
			payloads int
		}{
			{calls.WithLargeProgress(calls.Retried().Extending(id)), 1},
			{calls.WithLargeProgress(calls.Retried().Extending(id)), 1},
			{calls.WithProgress(calls.Retried().Extending(id)), 0},
			{calls.WithLargeProgress(calls.Retried().Extending(id)), 1},
			{calls.Retried().Answer(id, 1), 0},
		} {
			s.Must(step.op)
			stored := slices.DeleteFunc(mini.Keys(), func(key string) bool {
				return !strings.Contains(key, "/p/")
			})
			if len(stored) != step.payloads {
				t.Errorf("after %T: the payloads %v are stored, want %d",
					step.op, stored, step.payloads)
			}
		}
	})
}
