// Package request does not build: it completes a request.
package request

import (
	"context"

	"github.com/pendingq/pendingq/pending"
)

func complete(ctx context.Context, s *pending.PendingStore[string], id string) error {
	read, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	return s.Complete(ctx, read)
}

var _ = complete
