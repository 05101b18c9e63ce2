// Package memory keeps pending requests in this process. It follows all rules of the other
// backends. The requests are lost when the process ends, and other processes cannot see them. So it
// suits a single node, tests and experiments:
//
//	store, err := pending.New(memory.New(), codec.JSON[Job](), policy)
//
// An operation takes O(log n) time for each request that it changes. It also removes a few expired
// records, so no goroutine needs stopping. Only List and Mailboxes read many requests.
package memory

import (
	"context"
	"hash/maphash"
	"maps"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/wake"
)

var _ backends.Waker = (*Backend)(nil)
var _ backends.Lister = (*Backend)(nil)

// Backend is a [backends.Backend] in memory. Make one with [New].
//
// In a bubble of [testing/synctest] its deadlines are on the bubble's clock. So an application can
// be tested without waiting: see TestAnUnansweredQuestionTimesOut in this package.
type Backend struct {
	start  time.Time // has a monotonic reading, so a step of the wall clock moves no deadline
	seed   maphash.Seed
	shards [64]shard
}

// shard holds some partitions under a lock of its own.
type shard struct {
	mu        sync.Mutex
	records   map[recordKey]*entry
	mailboxes map[mailboxKey]*mailbox
	memos     map[string]*memo // by Claim.ID
	expiry    heap[expirer]    // records and memos, by the time when they expire
	claimable wake.Hub         // waiters for a request, by mailbox
	changed   wake.Hub         // waiters for a change of a request, by id
}

type recordKey struct{ store, id string }
type mailboxKey struct{ store, mailbox string }

// New returns an empty Backend. It needs no Close.
func New() *Backend {
	b := &Backend{start: time.Now(), seed: maphash.MakeSeed()}
	for i := range b.shards {
		b.shards[i].records = map[recordKey]*entry{}
		b.shards[i].mailboxes = map[mailboxKey]*mailbox{}
		b.shards[i].memos = map[string]*memo{}
	}
	return b
}

func (b *Backend) shard(partition string) *shard {
	return &b.shards[maphash.String(b.seed, partition)%uint64(len(b.shards))]
}

// lock locks a partition's shard and removes a few expired records. The caller unlocks the shard.
func (b *Backend) lock(partition string) (*shard, time.Time) {
	s := b.shard(partition)
	s.mu.Lock()
	now := b.now()
	s.dropExpired(now)
	return s, now
}

// now returns start plus the time since start, in whole microseconds. It truncates only the sum:
// two truncated parts could be a microsecond behind the wall clock.
func (b *Backend) now() time.Time {
	return time.UnixMicro(b.start.Add(time.Since(b.start)).UnixMicro()).UTC()
}

// Create implements [backends.Backend].
func (b *Backend) Create(ctx context.Context, c backends.Create) (backends.Record, error) {
	if err := ctx.Err(); err != nil {
		return backends.Record{}, err
	}
	s, now := b.lock(backends.PartitionOf(c.ID))
	defer s.mu.Unlock()
	if e := s.find(c.Store, c.ID, now); e != nil {
		return e.view(now), nil
	}
	m := s.mailbox(c.Store, c.Mailbox)
	if err := m.admits(c.Terms, now); err != nil {
		return backends.Record{}, err
	}
	rec := s.add(m, c, now).rec.At(now)
	rec.Payload, rec.Headers = c.Payload, maps.Clone(c.Headers) // add has stored copies
	return rec, nil
}

// Get implements [backends.Backend].
func (b *Backend) Get(ctx context.Context, store, id string) (backends.Record, error) {
	if err := ctx.Err(); err != nil {
		return backends.Record{}, err
	}
	s, now := b.lock(backends.PartitionOf(id))
	defer s.mu.Unlock()
	e := s.find(store, id, now)
	if e == nil {
		return backends.Record{}, backends.ErrNotFound
	}
	return e.view(now), nil
}

// HasPending implements [backends.Backend].
func (b *Backend) HasPending(ctx context.Context, store, mailbox string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s, now := b.lock(backends.Partition(mailbox))
	defer s.mu.Unlock()
	m := s.mailboxes[mailboxKey{store, mailbox}]
	return m != nil && m.settle(now) > 0, nil
}

// Claim implements [backends.Backend].
func (b *Backend) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, now := b.lock(backends.Partition(c.Mailbox))
	defer s.mu.Unlock()
	memo := s.memos[c.ID]
	if memo == nil || now.After(memo.expiry.at) { // mutation: memo
		memo = s.claim(c, now)
	}
	return memo.results(c.From, now), nil
}

// Extend implements [backends.Backend].
func (b *Backend) Extend(ctx context.Context, x backends.Extend) (backends.Lease, error) {
	s, e, now, err := b.lockLive(ctx, x.Store, x.ID)
	if err != nil {
		return backends.Lease{}, err
	}
	defer s.mu.Unlock()
	claimed, expired := e.rec.Status == backends.StatusRunning, now.After(e.rec.Deadline)
	// mutation: extend-attempt, expired, release
	if !claimed || !e.rec.HasClaim(x.Attempt, x.StartedAt) || expired && !x.Release {
		return backends.Lease{}, backends.ErrStaleClaim
	}
	s.extend(e, x, now)
	return backends.Lease{UpdatedAt: now, Deadline: e.rec.Deadline,
		// mutation: tells-cancel
		CancelledAs: e.rec.CancelledAs, CancelReason: e.rec.CancelReason}, nil
}

// Cancel implements [backends.Backend].
func (b *Backend) Cancel(ctx context.Context, c backends.Cancel) (backends.Record, error) {
	s, e, now, err := b.lockLive(ctx, c.Store, c.ID)
	if err != nil {
		return backends.Record{}, err
	}
	defer s.mu.Unlock()
	switch running := e.rec.At(now).Status == backends.StatusRunning; {
	case !running || c.Grace == 0: // mutation: grace-running, grace-zero
		s.end(e, c.Outcome, c.Error, c.Retention, now)
	case e.rec.CancelledAs == "": // mutation: first
		s.note(e, c, now)
	}
	return e.head(now), nil
}

// End implements [backends.Backend].
func (b *Backend) End(ctx context.Context, end backends.End) (backends.Record, error) {
	s, e, now, err := b.lockLive(ctx, end.Store, end.ID)
	if err != nil {
		return backends.Record{}, err
	}
	defer s.mu.Unlock()
	if !e.rec.HasClaim(end.Attempt, end.StartedAt) { // mutation: attempt
		return backends.Record{}, backends.ErrStaleClaim
	}
	e.setPayload(end.Codec, end.Payload)
	s.end(e, end.Outcome, end.Error, end.Retention, now)
	return e.head(now), nil
}

// WatchMailbox implements [backends.Waker].
func (b *Backend) WatchMailbox(_ context.Context, mailbox string) (<-chan struct{}, func()) {
	return b.shard(backends.Partition(mailbox)).claimable.Watch(mailbox)
}

// WatchRequest implements [backends.Waker].
func (b *Backend) WatchRequest(_ context.Context, id string) (<-chan struct{}, func()) {
	return b.shard(backends.PartitionOf(id)).changed.Watch(id)
}

// PollInterval implements [backends.Waker]. It returns 0, since no signal is ever lost.
func (b *Backend) PollInterval() time.Duration { return 0 }
