// Package claim completes a claim.
package claim

import (
	"context"

	"github.com/pendingq/pendingq/pending"
)

func complete(ctx context.Context, s *pending.PendingStore[string], id string) error {
	held, err := s.Held(ctx, id, 1)
	if err != nil {
		return err
	}
	return s.Complete(ctx, held)
}

var _ = complete
