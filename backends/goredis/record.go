package goredis

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// A record is one string. The fields of its head have fixed widths, so scripts find a field by its
// place. Numbers and times are decimal digits, so a person can read a record in redis-cli:
//
//	bytes   what
//	1       version of this layout, "1"
//	2       state: p pending, r claimed, c claimed with a noted cancel, e ended
//	3-18    deadline
//	19-34   created
//	35-37   length of the mailbox
//	38      place: 1 if the payload has its own key, plus 2 if there are headers; else 0
//
//	39-54   last deadline; for a pending request, the time from a first claim to its last deadline
//	        by the creator's terms: the queue lives long enough for such a claim
//	55-70   updated; for a pending request zeros, also in the next two fields
//	71-86   started; zeros also if the request ended before any claim
//	87-90   attempt; with the field before it, this is the fence of a claim
//	        mailbox
//	5       only if there are headers: the length of their list
//	4, 4    for each header in the list: lengths of the name and of the value
//	        name, value
//	2, 5    only in states c and e: lengths of the outcome and of the error
//	        outcome, error
//	2       length of the codec's name
//	        codec
//	        payload, or the 26 characters of its name
//
// Times are microseconds since the epoch. Numbers are padded with zeros, so fields of equal width
// compare like the numbers. Lengths are in bytes. TestScriptsAndGoAgreeOnRecords checks this table.
const recordVersion = "1"

// updatedEnd is the end of the time of the last update in a record that is not pending.
const updatedEnd = 70

// body is the end of a record.
type body struct {
	codec   string
	payload []byte
	place   int // 1: payload is the name of a payload with its own key
}

func (b body) append(to []byte) []byte {
	to = slices.Grow(to, 2+len(b.codec)+len(b.payload))
	return append(fmt.Appendf(to, "%02d%s", len(b.codec), b.codec), b.payload...)
}

// encodeNew writes a new record from the length of its mailbox on.
func encodeNew(c backends.Create, b body) []byte {
	if len(c.Headers) > 0 {
		b.place += 2
	}
	text := fmt.Appendf(nil, "%03d%d%016d%036d%s",
		len(c.Mailbox), b.place, span(c.Terms), 0, c.Mailbox)
	return b.append(appendHeaders(text, c.Headers))
}

// appendHeaders appends headers, sorted by name. Without any it appends nothing.
func appendHeaders(to []byte, headers map[string]string) []byte {
	if len(headers) == 0 {
		return to
	}
	var list []byte
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value := headers[name]
		list = fmt.Appendf(list, "%04d%04d%s%s", len(name), len(value), name, value)
	}
	return fmt.Appendf(to, "%05d%s", len(list), list)
}

// span is the time from a first claim to its last deadline, in microseconds.
func span(t backends.Terms) int64 { return untilLast(t, 1).Microseconds() }

// encodeEnding writes the outcome and the error of a record.
func encodeEnding(outcome, reason string) []byte {
	return fmt.Appendf(nil, "%02d%05d%s%s", len(outcome), len(reason), outcome, reason)
}

// encodeFence writes the fence of a claim, as in a record. If the worker does not know when the
// claim started, the fence is only the attempt.
func encodeFence(attempt int, startedAt time.Time) string {
	if startedAt.IsZero() {
		return fmt.Sprintf("%04d", attempt)
	}
	return fmt.Sprintf("%016d%04d", startedAt.UnixMicro(), attempt)
}

// encodeFrom writes the terms of a store for claim.lua. The key of the store's queue has storeEnd
// bytes before "q/".
func encodeFrom(storeEnd int, from backends.From) string {
	running := from.RunningTimeout
	terms := fmt.Sprintf("%d %d %016d %d", storeEnd, from.Limit, running.Microseconds(),
		millis(running+from.Retention))
	if from.MaxAttempts > 1 {
		ttl := millis(untilLast(from.Terms, 1) + from.Retention)
		terms += fmt.Sprintf(" %016d %d %d", span(from.Terms), from.MaxAttempts, ttl)
	}
	return terms + ";"
}

// stored is a record of the server. Its payload may still have to be fetched.
type stored struct {
	backends.Record
	payload string // the name of the payload; "" once Payload is set
}

// decodeRecord decodes a stored record. Its error is a *backends.CorruptError.
func decodeRecord(id, text string) (stored, error) {
	r := reader{rest: text}
	rec, ownKey := r.head(id)
	s := stored{Record: rec}
	s.Codec = strings.Clone(r.next(r.number(2)))
	if ownKey {
		s.payload = strings.Clone(r.next(26))
	} else {
		s.Payload = []byte(r.rest)
	}
	if r.err != nil {
		return stored{}, &backends.CorruptError{ID: id, Err: r.err}
	}
	return s, nil
}

// decodeHead decodes a stored record up to its body. Its error is a *backends.CorruptError.
func decodeHead(id, text string) (backends.Record, error) {
	r := reader{rest: text}
	rec, _ := r.head(id)
	if r.err != nil {
		return backends.Record{}, &backends.CorruptError{ID: id, Err: r.err}
	}
	return rec, nil
}

// at returns the record as it reads at the time now.
func (s stored) at(now time.Time) stored {
	s.Record = s.Record.At(now)
	return s
}

// reader decodes a record field by field. After its first error it returns zero values.
type reader struct {
	rest string
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.rest = ""
}

func (r *reader) next(n int64) string {
	if int64(len(r.rest)) < n {
		r.fail("truncated")
		return ""
	}
	field := r.rest[:n]
	r.rest = r.rest[n:]
	return field
}

// number reads n digits, at most 16.
func (r *reader) number(n int64) int64 {
	value, err := strconv.ParseUint(r.next(n), 10, 63)
	if err != nil {
		r.fail("a field for a number has other characters")
	}
	return int64(value)
}

// head reads a record up to its body. OwnKey reports whether the payload has its own key.
func (r *reader) head(id string) (rec backends.Record, ownKey bool) {
	if version := r.next(1); version != recordVersion {
		r.fail("version %q, want %q", version, recordVersion)
	}
	rec.ID = id
	state := r.next(1)
	rec.Deadline, rec.CreatedAt = r.time(), r.time()
	mailboxLen, place := r.number(3), r.number(1)
	rec.LastDeadline, rec.UpdatedAt, rec.StartedAt = r.time(), r.time(), r.time()
	rec.Attempt = int(r.number(4))
	rec.Mailbox = strings.Clone(r.next(mailboxLen))
	if place >= 2 {
		rec.Headers = r.headers()
	}
	switch state {
	case "p":
		rec.Status = backends.StatusPending
		rec.LastDeadline, rec.UpdatedAt = rec.Deadline, rec.CreatedAt
	case "r":
		rec.Status = backends.StatusRunning
	case "c":
		rec.Status = backends.StatusRunning
		rec.CancelledAs, rec.CancelReason = r.ending()
	case "e":
		rec.Status, rec.Error = r.ending()
	default:
		r.fail("unknown state %q", state)
	}
	return rec, place%2 == 1
}

func (r *reader) headers() map[string]string {
	list := reader{rest: strings.Clone(r.next(r.number(5)))}
	headers := map[string]string{}
	for list.rest != "" {
		nameLen, valueLen := list.number(4), list.number(4)
		name := list.next(nameLen)
		headers[name] = list.next(valueLen)
	}
	if len(headers) == 0 {
		list.fail("there are none")
	}
	if list.err != nil {
		r.fail("its headers: %w", list.err)
	}
	return headers
}

func (r *reader) ending() (outcome, reason string) {
	outcomeLen, reasonLen := r.number(2), r.number(5)
	if outcomeLen == 0 {
		r.fail("it has no outcome")
	}
	return strings.Clone(r.next(outcomeLen)), strings.Clone(r.next(reasonLen))
}

func (r *reader) time() time.Time {
	us := r.number(16)
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// decodeTime decodes a time from a script.
func decodeTime(word any) (time.Time, bool) {
	digits, _ := word.(string)
	us, err := strconv.ParseInt(digits, 10, 64)
	return time.UnixMicro(us).UTC(), err == nil
}

// decodeGet decodes the reply of get.lua: an ended record, or the time as seconds and microseconds
// and then the record at that time.
func decodeGet(id string, reply any) (stored, error) {
	var now time.Time // has no effect on an ended record
	text, ok := reply.(string)
	if words, _ := reply.([]any); len(words) == 2 {
		clock, _ := words[0].([]any)
		var seconds, us int64
		_, err := fmt.Sscan(fmt.Sprintln(clock...), &seconds, &us)
		now = time.UnixMicro(seconds*1_000_000 + us).UTC()
		text, ok = words[1].(string)
		ok = ok && err == nil
	}
	if !ok {
		return stored{}, unexpected(reply)
	}
	rec, err := decodeRecord(id, text)
	return rec.at(now), err
}

// claimed is the result of a claim from one store.
type claimed struct {
	records []*stored
	errs    []error
}

// decodeClaimed decodes the reply of claim.lua.
func decodeClaimed(reply any, stores []backends.From) ([]claimed, error) {
	words, _ := reply.([]any)
	if len(words)%2 == 0 {
		return nil, unexpected(reply)
	}
	now, isTime := decodeTime(words[0])
	all := make([]claimed, len(stores))
	for pair := range slices.Chunk(words[1:], 2) {
		key, isKey := pair[0].(string)
		detail, isDetail := pair[1].(string)
		key, problem := strings.CutPrefix(key, "\n")
		store, topic := split(key)
		at := slices.IndexFunc(stores, func(from backends.From) bool { return from.Store == store })
		if !isTime || !isKey || !isDetail || at < 0 {
			return nil, unexpected(reply)
		}
		id := strings.TrimPrefix(topic, "r/")
		rec, err := decodeRecord(id, detail)
		if problem {
			err = &backends.CorruptError{ID: id, Err: errors.New(detail)}
			if backends.CheckID(id) != nil { // the key is the queue's
				err = fmt.Errorf("queue: %s", detail)
			}
		}
		if err != nil {
			all[at].errs = append(all[at].errs, err)
			continue
		}
		rec.Record = started(rec.At(now), stores[at].Terms)
		all[at].records = append(all[at].records, &rec)
	}
	return all, nil
}

// started is the record after a claim at its ReadAt. A record that was running already does not
// change.
func started(rec backends.Record, t backends.Terms) backends.Record {
	if rec.Status != backends.StatusPending {
		return rec
	}
	now := rec.ReadAt
	rec.Attempt++
	rec.Status, rec.UpdatedAt, rec.StartedAt = backends.StatusRunning, now, now
	rec.Deadline, rec.LastDeadline = now.Add(t.RunningTimeout), now.Add(untilLast(t, rec.Attempt))
	return rec
}
