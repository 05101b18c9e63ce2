package remote

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

// A backend need not check its arguments: package pending has done that for its callers. These
// callers are remote, so the handler checks them again.

const (
	maxName     = 512 // bytes of a mailbox, a key or a claim id
	maxHeaders  = 4 << 10
	maxReason   = 16 << 10
	maxLimit    = 100 // requests of a claim or a page
	maxAttempts = 9999
	maxAfter    = 10 * 365 * 24 * time.Hour
	maxClaims   = 64   // of one request
	maxTopics   = 4000 // mailboxes and requests of a watch

	maxMailboxes = 1000 // of a page
)

var errTooLarge = codec.ErrTooLarge

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{pending.ErrInvalid}, args...)...)
}

var validCodec = regexp.MustCompile(`^[a-z0-9_.-]{1,32}$`)

func checkCodec(name string) error {
	if !validCodec.MatchString(name) {
		return invalid("codec is not 1 to 32 of [a-z0-9_.-]")
	}
	return nil
}

func checkMailbox(mailbox string) error {
	if mailbox == "" || len(mailbox) > maxName || !utf8.ValidString(mailbox) {
		return invalid("mailbox is not 1 to %d bytes of UTF-8", maxName)
	}
	return nil
}

func checkRange(what string, value, low, high int64) error {
	if value < low || value > high {
		return invalid("%s is %d, want %d to %d", what, value, low, high)
	}
	return nil
}

func checkReason(what, reason string) error {
	if len(reason) > maxReason {
		return invalid("%s has %d bytes, want at most %d", what, len(reason), maxReason)
	}
	return nil
}

// headers decodes and checks the headers of a new request. They are decoded only if they are small.
func headers(text json.RawMessage) (headers map[string]string, err error) {
	if len(text) > 6*maxHeaders+maxHeaders { // each byte may be escaped
		return nil, invalid("headers have over %d bytes", maxHeaders)
	}
	if len(text) > 0 && json.Unmarshal(text, &headers) != nil {
		return nil, invalid("headers are not an object of strings")
	}
	size := 0
	for name, value := range headers {
		size += len(name) + len(value)
	}
	if size > maxHeaders {
		return nil, invalid("headers have %d bytes, want at most %d", size, maxHeaders)
	}
	if len(headers) == 0 {
		return nil, nil
	}
	return headers, nil
}

// checkPayload checks the size of a payload, and that a body has only one.
func (s *store) checkPayload(p payload) error {
	switch {
	case p.JSON != nil && p.Base64 != nil:
		return invalid("payload and payload_base64 exclude each other")
	case int64(len(p.bytes())) > s.maxPayload:
		return fmt.Errorf("%w: %d bytes, the store takes %d",
			errTooLarge, len(p.bytes()), s.maxPayload)
	}
	return nil
}

// newClaim checks a claim and authorises it. It lowers the limits so that the answer fits into the
// caller's share, and returns how large the answer can be.
func (c *call) newClaim(b claimBody) (claim backends.Claim, bytes int64, err error) {
	claim.Mailbox = b.Mailbox
	if err := checkMailbox(b.Mailbox); err != nil {
		return claim, 0, err
	}
	if len(b.ID) == 0 || len(b.ID) > maxName || len(b.From) == 0 {
		return claim, 0, invalid("a claim needs an id of at most %d bytes, and stores", maxName)
	}
	share := c.budgets[worker].share() / int64(len(b.From))
	for _, from := range b.From {
		limit := int64(cmp.Or(from.Limit, 1))
		if err := checkRange("limit", limit, 1, maxLimit); err != nil {
			return claim, 0, err
		}
		if err := c.allow(ActionClaim, from.Store, b.Mailbox); err != nil {
			return claim, 0, err
		}
		s := c.stores[from.Store]
		limit = min(limit, max(1, share/s.maxPayload))
		bytes += limit * s.maxPayload
		claim.From = append(claim.From, backends.From{Terms: s.terms, Limit: int(limit)})
	}
	claim.ID, err = claimID(claim, b.ID)
	return claim, bytes, err
}

// claimID derives the id of a claim from its mailbox, its stores and the caller's own id. So no
// caller can repeat a claim of another mailbox.
func claimID(c backends.Claim, own string) (string, error) {
	parts := []string{c.Mailbox, own}
	for _, from := range c.From {
		parts = append(parts, from.Store)
	}
	stores := parts[2:]
	slices.Sort(stores)
	for i := 1; i < len(stores); i++ {
		if stores[i] == stores[i-1] {
			return "", invalid("store %q is in the claim twice", stores[i])
		}
	}
	return backends.Digest(parts...), nil
}

// microseconds returns a duration that a body has.
func microseconds(n int64) (time.Duration, error) {
	if err := checkRange("after_us", n, 0, maxAfter.Microseconds()); err != nil {
		return 0, err
	}
	return time.Duration(n) * time.Microsecond, nil
}
