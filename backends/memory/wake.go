package memory

import (
	"context"
	"time"

	"github.com/pendingq/pendingq/backends"
)

var _ backends.Waker = (*Backend)(nil)

// clockStep is when, after a deadline, the backend's clock shows that it is past.
const clockStep = time.Microsecond

// WatchMailbox implements [backends.Waker].
func (b *Backend) WatchMailbox(_ context.Context, mailbox string) (<-chan struct{}, func()) {
	return b.shard(backends.Partition(mailbox)).claimable.Watch(mailbox)
}

// WatchRequest implements [backends.Waker].
func (b *Backend) WatchRequest(_ context.Context, id string) (<-chan struct{}, func()) {
	return b.shard(backends.PartitionOf(id)).changed.Watch(id)
}

// PollInterval implements [backends.Waker]: no change goes unnoticed here.
func (b *Backend) PollInterval() time.Duration { return 0 }
