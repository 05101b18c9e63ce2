package pending

import (
	"cmp"
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
)

// CreateOption changes one Create.
type CreateOption func(*createOptions)

type createOptions struct {
	key     string
	hasKey  bool
	headers map[string]string
}

// WithIdempotencyKey lets the caller retry a Create. The same key, of 1 to 512 bytes, again in the
// same store and mailbox returns the first request, whatever its payload and whatever has become of
// it, for as long as it is kept. Without a key each Create makes a new request.
func WithIdempotencyKey(key string) CreateOption {
	return func(o *createOptions) { o.key, o.hasKey = key, true }
}

// WithHeaders sends small strings along with a request, such as a trace context. They come with the
// request wherever it is read or claimed, and never change. Names and values are UTF-8 and have at
// most 4 KiB together.
func WithHeaders(headers map[string]string) CreateOption {
	return func(o *createOptions) { o.headers = headers }
}

const maxHeaders = 4 << 10 // bytes

func checkHeaders(headers map[string]string) error {
	size := 0
	for name, value := range headers {
		size += len(name) + len(value)
		if name == "" || !utf8.ValidString(name) || !utf8.ValidString(value) {
			return fmt.Errorf("%w: header %.80q is empty or not UTF-8", ErrInvalid, name)
		}
	}
	if size > maxHeaders {
		return fmt.Errorf("%w: the headers have %d bytes, want at most %d",
			ErrInvalid, size, maxHeaders)
	}
	return nil
}

// Create stores a new pending request for a mailbox, 1 to 512 bytes of UTF-8, and returns it.
//
// It returns a [BusyError] if the store is Exclusive and the mailbox has a live request, and
// [ErrFull], [ErrTooLarge] or [ErrInvalid].
func (s *PendingStore[T]) Create(ctx context.Context, mailbox string, payload T,
	opts ...CreateOption) (r *Request[T], err error) {
	defer s.wrap(&err, "create", mailbox)
	o := collect[createOptions](opts)
	err = cmp.Or(checkMailbox(mailbox), checkHeaders(o.headers))
	var id string
	if o.hasKey {
		err = cmp.Or(err, checkRange("the idempotency key's length", len(o.key), 1, maxKey))
		id = backends.DeriveID(s.policy.Name, mailbox, o.key)
	} else {
		id = backends.NewID(mailbox)
	}
	if err != nil {
		return nil, err
	}
	encoded, err := s.encode(payload, id, mailbox, codec.Question)
	if err != nil {
		return nil, err
	}
	rec, err := s.backend.Create(ctx, backends.Create{Terms: s.terms, ID: id, Mailbox: mailbox,
		Codec: s.codec.Name(), Payload: encoded, Headers: o.headers})
	if err != nil {
		return nil, err
	}
	return s.request(rec)
}
