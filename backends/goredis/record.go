package goredis

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// A record is one string. Its head has a fixed width, so that scripts find a field by its place, and all but
// the payload is printable, so that a person can read it in redis-cli:
//
//	bytes  what
//	1      version of this layout, "1"
//	1      state: p pending, r running, e ended
//	4      attempt
//	16     deadline, in microseconds since the epoch, as all times
//	16     last deadline
//	16     created
//	16     updated
//	16     started, or zeros
//	3      length of the mailbox
//	       mailbox
//	2, 5   the ending: lengths of the outcome and of the error; zeros while the record is live
//	       outcome, error
//	2      the body: length of the codec's name
//	       codec
//	       payload
//
// Digits are padded with zeros, so equal widths compare as the numbers do. The head and the deadlines belong to
// the scripts; what follows the head they move as a whole, but for the ending and the body, which end.lua
// replaces. Lengths are in bytes.
const (
	recordVersion = '1'
	headLen       = 1 + 1 + 4 + 5*16
)

// encodeRest writes what follows the head of a new record.
func encodeRest(c backends.Create) []byte {
	rest := make([]byte, 0, 3+len(c.Mailbox)+7+2+len(c.Codec)+len(c.Payload))
	rest = fmt.Appendf(rest, "%03d%s%s%02d%s", len(c.Mailbox), c.Mailbox, encodeEnding("", ""), len(c.Codec), c.Codec)
	return append(rest, c.Payload...)
}

func encodeEnding(outcome, reason string) string {
	return fmt.Sprintf("%02d%05d%s%s", len(outcome), len(reason), outcome, reason)
}

func encodeBody(codec string, payload []byte) []byte {
	body := make([]byte, 0, 2+len(codec)+len(payload))
	return append(fmt.Appendf(body, "%02d%s", len(codec), codec), payload...)
}

// encodeFrom writes what claim.lua has to know of a store.
func encodeFrom(from backends.From) string {
	return fmt.Sprintf("%s %d %d %s %s %s %s %s %s", from.Store, from.Limit, from.MaxAttempts, flag(from.Exclusive),
		micros(from.RunningTimeout), micros(from.PendingTimeout), micros(from.Retention), millis(from.RunningTimeout),
		millis(from.RunningTimeout+from.Retention))
}

// newRecord is the record that create.lua stored at now.
func newRecord(c backends.Create, now time.Time) backends.Record {
	deadline := now.Add(c.PendingTimeout)
	return backends.Record{ID: c.ID, Mailbox: c.Mailbox, Status: backends.StatusPending, Codec: c.Codec,
		Payload: bytes.Clone(c.Payload), CreatedAt: now, UpdatedAt: now,
		Deadline: deadline, LastDeadline: deadline, ReadAt: now}
}

// decodeRecord reads a stored record. Its error is a *backends.CorruptError.
func decodeRecord(id, stored string) (backends.Record, error) {
	r := reader{rest: stored}
	rec := backends.Record{ID: id}
	if version := r.bytes(1); version != string(recordVersion) {
		r.fail(fmt.Errorf("version %q, want %q", version, recordVersion))
	}
	state := r.bytes(1)
	rec.Attempt = r.number(4)
	rec.Deadline, rec.LastDeadline = r.time(), r.time()
	rec.CreatedAt, rec.UpdatedAt, rec.StartedAt = r.time(), r.time(), r.time()
	rec.Mailbox = strings.Clone(r.bytes(r.number(3)))
	outcomeLen, errorLen := r.number(2), r.number(5)
	outcome := strings.Clone(r.bytes(outcomeLen))
	rec.Error = strings.Clone(r.bytes(errorLen))
	rec.Codec = strings.Clone(r.bytes(r.number(2)))
	rec.Payload = []byte(r.rest)
	rec.Status = r.status(state, outcome)
	if r.err != nil {
		return backends.Record{}, &backends.CorruptError{ID: id, Err: r.err}
	}
	return rec, nil
}

// reader takes a record apart. After its first error it yields zero values.
type reader struct {
	rest string
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = ""
}

func (r *reader) bytes(n int) string {
	if len(r.rest) < n {
		r.fail(errors.New("truncated"))
		return ""
	}
	field := r.rest[:n]
	r.rest = r.rest[n:]
	return field
}

// digits reads n digits, fewer than a 64-bit number can overflow on.
func (r *reader) digits(n int) int64 {
	field := r.bytes(n)
	value, err := strconv.ParseUint(field, 10, 63)
	if err != nil {
		r.fail(errors.New("not a number where one should stand"))
		return 0
	}
	return int64(value)
}

func (r *reader) number(n int) int { return int(r.digits(n)) }

func (r *reader) time() time.Time {
	us := r.digits(16)
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func (r *reader) status(state, outcome string) string {
	switch {
	case state == "p":
		return backends.StatusPending
	case state == "r":
		return backends.StatusRunning
	case state == "e" && outcome != "":
		return outcome
	}
	r.fail(errors.New("neither live nor ended"))
	return ""
}

// decodeGet reads get.lua's reply: the time as seconds and microseconds, then the record. Its error is ErrNotFound when
// there is none.
func decodeGet(reply any) (now time.Time, stored string, err error) {
	words, _ := reply.([]any)
	if len(words) != 2 {
		return now, "", unexpected(reply)
	}
	clock, _ := words[0].([]any)
	if len(clock) != 2 {
		return now, "", unexpected(reply)
	}
	seconds, err1 := strconv.ParseInt(fmt.Sprint(clock[0]), 10, 64)
	us, err2 := strconv.ParseInt(fmt.Sprint(clock[1]), 10, 64)
	if err1 != nil || err2 != nil {
		return now, "", unexpected(reply)
	}
	stored, found := words[1].(string)
	if !found {
		return now, "", backends.ErrNotFound
	}
	return time.UnixMicro(seconds*1_000_000 + us).UTC(), stored, nil
}

// decodeClaimed reads claim.lua's reply: the time, then a store's number, an id and a record each, or a store's
// number negated, an id or none, and what was wrong.
//
// A record that is claimable there is one that the claim made running.
func decodeClaimed(reply any, stores []backends.From) ([]backends.Claimed, error) {
	words, _ := reply.([]any)
	if len(words)%3 != 1 {
		return nil, unexpected(reply)
	}
	us, isTime := words[0].(int64)
	if !isTime {
		return nil, unexpected(reply)
	}
	now := time.UnixMicro(us).UTC()
	claimed := make([]backends.Claimed, len(stores))
	for i := 1; i < len(words); i += 3 {
		number, isNumber := words[i].(int64)
		id, isID := words[i+1].(string)
		detail, isDetail := words[i+2].(string)
		if !isNumber || !isID || !isDetail || number == 0 || max(number, -number) > int64(len(stores)) {
			return nil, unexpected(reply)
		}
		place := max(number, -number) - 1
		from := &claimed[place]
		rec, err := backends.Record{}, passedOver(id, detail)
		if number > 0 {
			rec, err = decodeRecord(id, detail)
		}
		if err != nil {
			from.Errs = append(from.Errs, err)
			continue
		}
		from.Records = append(from.Records, started(rec.At(now), stores[place].Terms))
	}
	return claimed, nil
}

// started is a record after claim.lua has claimed it at the time that it was read, and one that ran already as it is.
func started(rec backends.Record, t backends.Terms) backends.Record {
	if rec.Status != backends.StatusPending {
		return rec
	}
	now := rec.ReadAt
	rec.Status, rec.UpdatedAt, rec.StartedAt, rec.Deadline = backends.StatusRunning, now, now, now.Add(t.RunningTimeout)
	rec.Attempt++
	rec.LastDeadline = rec.Deadline
	if rec.Attempt < t.MaxAttempts {
		rec.LastDeadline = rec.Deadline.Add(t.PendingTimeout)
	}
	return rec
}

// passedOver is the error for a record, or without an id a queue, that could not be read.
func passedOver(id, problem string) error {
	if id == "" {
		return fmt.Errorf("queue: %s", problem)
	}
	return &backends.CorruptError{ID: id, Err: errors.New(problem)}
}
