package goredis

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
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
//
//	       a pending one:
//	16     deadline, in microseconds since the epoch, as all times
//
//	       one that runs or has ended:
//	16     updated
//	16     deadline
//	16     last deadline
//	16     started, or zeros
//	4      attempt
//
//	       then all:
//	16     created
//	3      length of the mailbox
//	       mailbox
//	2, 5   one that has ended: lengths of the outcome and of the error
//	       outcome, error
//	2      the body: length of the codec's name
//	       codec
//	       payload
//
// Digits are padded with zeros, so equal widths compare as the numbers do. What comes before the mailbox belongs to
// the scripts; what follows they move as a whole, but for the ending and the body, which end.lua replaces. Lengths are
// in bytes.
const recordVersion = "1"

// places are the words that stand for that in scripts: bytes from and to, as string.sub takes them, and lengths.
var places = []string{
	"PENDING_TAG", "'1p'", "RUNNING_TAG", "'1r'", "ENDED_TAG", "'1e'", "TAG", "1, 2",
	"PENDING_DEADLINE", "3, 18", "PENDING_CREATED", "19, 34", "PENDING_FROM_CREATED", "19", "PENDING_LENGTH_END", "37",
	"UPDATED_OFFSET", "2", "FROM_DEADLINE", "19", "LAST_DEADLINE", "35, 50", "DEADLINE", "19, 34",
	"ATTEMPT", "67, 70", "FROM_CREATED", "71", "LENGTH_END", strconv.Itoa(claimedHead),
	"SHORTEST_BODY", "2", "ID_BYTES", strconv.Itoa(idBytes), "LARGE", strconv.Itoa(largeRecord),
}

// claimedHead is how many bytes stand before the mailbox in the record of a request that runs or has ended.
const claimedHead = 89

// idBytes is how long an id is.
const idBytes = 30

// encodeRest writes what follows the time of creation in a new record.
func encodeRest(c backends.Create) []byte {
	rest := make([]byte, 0, 3+len(c.Mailbox)+2+len(c.Codec)+len(c.Payload))
	rest = append(appendDigits(rest, len(c.Mailbox), 3), c.Mailbox...)
	return appendBody(rest, c.Codec, c.Payload)
}

// appendEnding writes what follows the mailbox in a record that ends: but for the body, if the record keeps its own.
func appendEnding(to []byte, e backends.End) []byte {
	to = slices.Grow(to, 7+len(e.Outcome)+len(e.Error)+2+len(e.Codec)+len(e.Payload))
	to = appendDigits(appendDigits(to, len(e.Outcome), 2), len(e.Error), 5)
	to = append(append(to, e.Outcome...), e.Error...)
	if e.GiveUp {
		return to
	}
	return appendBody(to, e.Codec, e.Payload)
}

func appendBody(to []byte, codec string, payload []byte) []byte {
	return append(append(appendDigits(to, len(codec), 2), codec...), payload...)
}

// appendDigits writes a number with so many digits.
func appendDigits(to []byte, number, width int) []byte {
	digits := strconv.Itoa(number)
	return append(append(to, "00000"[:max(0, width-len(digits))]...), digits...)
}

// encodeFrom writes what claim.lua has to know of a store.
func encodeFrom(from backends.From) string {
	terms := spaced(int64(from.Limit), from.RunningTimeout.Microseconds(), millis(from.RunningTimeout),
		millis(from.RunningTimeout+from.Retention))
	if from.MaxAttempts <= 1 && !from.Exclusive {
		return terms
	}
	return terms + " " + spaced(int64(from.MaxAttempts), from.PendingTimeout.Microseconds(), from.Retention.Microseconds(),
		flag(from.Exclusive))
}

// spaced writes numbers parted by spaces.
func spaced(numbers ...int64) string {
	text := make([]byte, 0, 64)
	for _, number := range numbers {
		text = append(strconv.AppendInt(text, number, 10), ' ')
	}
	return string(text[:len(text)-1])
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
	if version := r.bytes(1); version != recordVersion {
		r.fail(fmt.Errorf("version %q, want %q", version, recordVersion))
	}
	state := r.bytes(1)
	if state == "p" {
		rec.Deadline = r.time()
		rec.LastDeadline = rec.Deadline
	} else {
		rec.UpdatedAt, rec.Deadline, rec.LastDeadline, rec.StartedAt = r.time(), r.time(), r.time(), r.time()
		rec.Attempt = r.number(4)
	}
	rec.CreatedAt = r.time()
	if state == "p" {
		rec.UpdatedAt = rec.CreatedAt
	}
	rec.Mailbox = strings.Clone(r.bytes(r.number(3)))
	var outcome string
	if state == "e" {
		outcomeLen, errorLen := r.number(2), r.number(5)
		outcome = strings.Clone(r.bytes(outcomeLen))
		rec.Error = strings.Clone(r.bytes(errorLen))
	}
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

// decodeTime reads a time of a script.
func decodeTime(word any) (time.Time, bool) {
	digits, _ := word.(string)
	us, err := strconv.ParseInt(digits, 10, 64)
	return time.UnixMicro(us).UTC(), err == nil
}

// decodeGet reads get.lua's reply: a record that has ended, or the time as seconds and microseconds and then the record,
// which is as of then.
func decodeGet(id string, reply any) (backends.Record, error) {
	if ended, ok := reply.(string); ok {
		rec, err := decodeRecord(id, ended)
		return rec.At(time.Time{}), err // whatever the time, now that it has ended
	}
	words, _ := reply.([]any)
	if len(words) != 2 {
		return backends.Record{}, unexpected(reply)
	}
	clock, _ := words[0].([]any)
	stored, isRecord := words[1].(string)
	if len(clock) != 2 || !isRecord {
		return backends.Record{}, unexpected(reply)
	}
	seconds, err1 := strconv.ParseInt(fmt.Sprint(clock[0]), 10, 64)
	us, err2 := strconv.ParseInt(fmt.Sprint(clock[1]), 10, 64)
	if err1 != nil || err2 != nil {
		return backends.Record{}, unexpected(reply)
	}
	rec, err := decodeRecord(id, stored)
	if err != nil {
		return backends.Record{}, err
	}
	return rec.At(time.UnixMicro(seconds*1_000_000 + us).UTC()), nil
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
	now, isTime := decodeTime(words[0])
	if !isTime {
		return nil, unexpected(reply)
	}
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
		if number < 0 {
			from.Errs = append(from.Errs, passedOver(id, detail))
			continue
		}
		rec, err := decodeRecord(id, detail)
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
