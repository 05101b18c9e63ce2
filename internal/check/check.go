// Package check checks arguments: for package pending the arguments of its callers, and for package
// remote the arguments of its clients.
package check

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
)

// The limits of arguments.
const (
	MaxDuration = 10 * 365 * 24 * time.Hour
	MaxAttempts = 9999
	MaxLimit    = 100      // requests of a claim or a page
	MaxName     = 512      // bytes of a mailbox, an idempotency key or a claim id
	MaxHeaders  = 4 << 10  // bytes of all names and values
	MaxReason   = 16 << 10 // bytes of an error or of a reason
	MaxPayload  = 16 << 20 // bytes of a payload, unless the policy has another limit
)

// ErrInvalid is the ErrInvalid of package pending.
var ErrInvalid = errors.New("invalid argument")

// Invalid returns an ErrInvalid with a text.
func Invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
}

// Range returns an error if a value is not between low and high.
func Range[N ~int | ~int64](what string, value, low, high N) error {
	if value < low || value > high {
		return Invalid("%s is %v, want %v to %v", what, value, low, high)
	}
	return nil
}

// Mailbox checks the name of a mailbox.
func Mailbox(mailbox string) error {
	switch {
	case mailbox == "":
		return Invalid("the mailbox is empty")
	case len(mailbox) > MaxName:
		return Invalid("the mailbox has %d bytes, want 1 to %d", len(mailbox), MaxName)
	case !utf8.ValidString(mailbox):
		return Invalid("the mailbox %q is not UTF-8", mailbox)
	}
	return nil
}

// ID checks the id of a request.
func ID(id string) error {
	if err := backends.CheckID(id); err != nil {
		return Invalid("id %.40q: %w", id, err)
	}
	return nil
}

// Headers checks the headers of a request. A backend keeps an empty name like any other.
func Headers(headers map[string]string) error {
	size := 0
	for name, value := range headers {
		size += len(name) + len(value)
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return Invalid("header %.80q is not UTF-8", name)
		}
	}
	return Range("the size of the headers in bytes", size, 0, MaxHeaders)
}

var validName = regexp.MustCompile(`^[a-z0-9_.-]{1,32}$`)

// Name checks the name of an outcome or a codec.
func Name(what, name string) error {
	if !validName.MatchString(name) {
		return Invalid("%s %.80q is not 1 to 32 of [a-z0-9_.-]", what, name)
	}
	return nil
}

// Cut returns the beginning of a text, at most limit bytes. Bytes that are not UTF-8 are replaced.
func Cut(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	return strings.ToValidUTF8(text[:min(len(text), limit)], "") // without a part of a character
}

// IsNil reports whether an interface value is nil or holds a nil pointer.
func IsNil(value any) bool {
	v := reflect.ValueOf(value)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// Payload returns [codec.ErrTooLarge] if an encoded payload has more bytes than the limit.
func Payload(payload []byte, limit int) error {
	if len(payload) > limit {
		return fmt.Errorf("%w: %d bytes, the store takes %d",
			codec.ErrTooLarge, len(payload), limit)
	}
	return nil
}

// ClaimID derives the id of a claim from its mailbox, its stores and the caller's own id. So no
// caller can repeat a claim of another mailbox or of other stores.
func ClaimID(own, mailbox string, from []backends.From) string {
	parts := []string{mailbox, own}
	for _, f := range from {
		parts = append(parts, f.Store)
	}
	slices.Sort(parts[2:])
	return backends.Digest(parts...)
}
