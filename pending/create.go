package pending

import (
	"context"
	"strconv"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
)

// CreateOption changes one Create.
type CreateOption func(*createOptions)

type createOptions struct {
	key    string
	hasKey bool
}

// WithIdempotencyKey makes Create repeatable by the caller: the same key, of 1 to 512 bytes, again
// in the same store and mailbox returns the first request, whatever its payload and whatever has
// become of it, for as long as it is kept. Without a key each Create makes a new request.
func WithIdempotencyKey(key string) CreateOption {
	return func(o *createOptions) { o.key, o.hasKey = key, true }
}

// Create stores a new pending request for a mailbox, 1 to 512 bytes of UTF-8, and returns it.
//
// It refuses with a [BusyError] while the mailbox has a live request and the store is Exclusive,
// with [ErrFull], [ErrTooLarge] or [ErrInvalid].
func (s *PendingStore[T]) Create(ctx context.Context, mailbox string, payload T, opts ...CreateOption) (*Request[T], error) {
	c, err := s.newCreate(mailbox, payload, opts)
	if err != nil {
		return nil, s.failed("create", "", err)
	}
	rec, err := s.backend.Create(ctx, c)
	if err != nil {
		return nil, s.failed("create", "for "+strconv.Quote(mailbox), err)
	}
	return s.request(rec)
}

func (s *PendingStore[T]) newCreate(mailbox string, payload T, opts []CreateOption) (c backends.Create, err error) {
	o := collect[createOptions](opts)
	if err := checkMailbox(mailbox); err != nil {
		return c, err
	}
	c = backends.Create{Terms: s.terms, Mailbox: mailbox, Codec: s.codec.Name()}
	if !o.hasKey {
		c.ID = backends.NewID(mailbox)
	} else if err := checkKey("idempotency key", o.key); err != nil {
		return c, err
	} else {
		c.ID = backends.DeriveID(s.policy.Name, mailbox, o.key)
	}
	c.Payload, err = s.encode(payload, c.ID, mailbox, codec.Question)
	return c, err
}
