package proof_test

import (
	"errors"
	"testing"

	"github.com/pendingq/pendingq/backends"
)

// The state machine comes across this too seldom to rely on.
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
