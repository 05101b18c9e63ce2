package pending

import (
	"context"
	"strconv"
	"time"
)

// GetOption changes one Get.
type GetOption func(*getOptions)

type getOptions struct {
	mailbox   string
	inMailbox bool
}

// InMailbox makes a request of any other mailbox [ErrNotFound], as a caller who may see only this one should
// find it.
func InMailbox(mailbox string) GetOption {
	return func(o *getOptions) { o.mailbox, o.inMailbox = mailbox, true }
}

// Get reads a request. A deadline that has passed shows as it should: no one has to write a timeout for it to be
// read. It refuses with [ErrNotFound], and with [ErrInvalid] an id that no Create can have made; a record that
// cannot be read is a [DecodeError].
func (s *PendingStore[T]) Get(ctx context.Context, id string, opts ...GetOption) (*Request[T], error) {
	r, _, err := s.get(ctx, id, opts)
	return r, err
}

// get also returns how long the request's deadline is away, which says something while it is live.
func (s *PendingStore[T]) get(ctx context.Context, id string, opts []GetOption) (*Request[T], time.Duration, error) {
	o := collect[getOptions](opts)
	if err := checkID(id); err != nil {
		return nil, 0, s.failed("get", "", err)
	}
	rec, err := s.backend.Get(ctx, s.policy.Name, id)
	if err == nil && o.inMailbox && rec.Mailbox != o.mailbox {
		err = ErrNotFound
	}
	if err != nil {
		return nil, 0, s.failed("get", id, err)
	}
	r, err := s.request(rec)
	return r, rec.Deadline.Sub(rec.ReadAt), err
}

// HasPending reports whether the mailbox has a request that a pop could claim now. It only reads.
func (s *PendingStore[T]) HasPending(ctx context.Context, mailbox string) (bool, error) {
	if err := checkMailbox(mailbox); err != nil {
		return false, s.failed("look into", "", err)
	}
	pending, err := s.backend.HasPending(ctx, s.policy.Name, mailbox)
	if err != nil {
		return false, s.failed("look into", strconv.Quote(mailbox), err)
	}
	return pending, nil
}
