package goredis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/pendingq/pendingq/backends"
)

// handmade is a record by the table in record.go, and the wanted result of every call.
type handmade struct {
	state          string
	deadline, last time.Duration // from now; for a pending request, last is the span
	attempt        int
	score          float64 // the sign of its deadline in the queue; 0: not in the queue

	reads                     string // "status attempt"
	claimable                 bool
	extended, ended, repeated string // by attempt 2; by attempt 2; a Create of the same id
}

// handmadeRecords have all states, at a deadline and a microsecond after it.
var handmadeRecords = map[string]handmade{
	"waits":            {"p", 0, time.Hour, 0, 1, "pending 0", true, "stale", "stale", "pending"},
	"waited too long":  {"p", -1, time.Hour, 0, 1, "timeout 0", false, "ended", "ended", "timeout"},
	"runs":             {"r", 0, 0, 2, -1, "running 2", false, "done", "done", "running"},
	"runs, for once":   {"r", 0, time.Hour, 2, -1, "running 2", false, "done", "done", "running"},
	"runs, by another": {"r", 0, time.Hour, 3, -1, "running 3", false, "stale", "stale", "running"},
	"expired":          {"r", -1, 0, 2, -1, "pending 2", true, "stale", "done", "pending"},
	"expired and waits": {"r", -1, time.Hour, 2, 1, "pending 2", true, "stale", "done",
		"pending"},
	"timed out":    {"r", -1, -1, 2, -1, "timeout 2", false, "ended", "ended", "timeout"},
	"cancel noted": {"c", 0, 0, 2, -1, "running 2", false, "done", "done", "running"},
	"overruled":    {"c", -1, -1, 2, -1, "completed 2", false, "ended", "ended", "completed"},
	"ended":        {"e", 0, 0, 2, 0, "completed 2", false, "ended", "ended", "completed"},
	"ended unclaimed": {"e", time.Hour, time.Hour, 0, 0, "completed 0", false, "ended", "ended",
		"completed"},
}

// fields are the fields of the record.
func (h handmade) fields(now time.Time) fields {
	at := func(from time.Duration) string { return micros(now.Add(from)) }
	if h.deadline == -1 {
		h.deadline = -time.Microsecond
	}
	if h.last == -1 {
		h.last = -time.Microsecond
	}
	f := fields{"version": "1", "state": h.state, "deadline": at(h.deadline),
		"created": at(-3 * time.Hour), "place": "0",
		"length of the mailbox": fmt.Sprintf("%03d", len(box)), "last": at(h.last),
		"updated": at(-time.Hour), "started": at(-2 * time.Hour),
		"attempt": fmt.Sprintf("%04d", h.attempt), "mailbox": box,
		"outcome": "completed", "error": "why", "codec": "raw", "body": "payload"}
	if h.state == "p" {
		f["last"] = fmt.Sprintf("%016d", h.last.Microseconds())
		f["updated"], f["started"] = micros(time.Time{}), micros(time.Time{})
	}
	return f
}

// write stores a record with a new id, and adds the id to the queue.
func (r *rig) write(mini *miniredis.Miniredis, text string, score float64) (id string) {
	r.Helper()
	id = backends.NewID(box)
	r.writeAs(mini, id, text, score)
	return id
}

func (r *rig) writeAs(mini *miniredis.Miniredis, id, text string, score float64) {
	r.Helper()
	partition := r.prefix + "{" + backends.Partition(box) + "}:s"
	if err := mini.Set(partition+"/r/"+id, text); err != nil {
		r.Fatal(err)
	}
	mini.SetTTL(partition+"/r/"+id, 24*time.Hour)
	if score != 0 {
		_, _ = mini.ZAdd(partition+"/q/"+box, score, id)
		mini.SetTTL(partition+"/q/"+box, 24*time.Hour)
	}
}

// outcome is the result of a call as a word.
func outcome(err error) string {
	var corrupt *backends.CorruptError
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &corrupt):
		return "corrupt"
	case errors.Is(err, backends.ErrEnded):
		return "ended"
	case errors.Is(err, backends.ErrStaleClaim):
		return "stale"
	}
	return err.Error()
}

func TestEveryScriptReadsRecordsByTheTable(t *testing.T) {
	parallel(t)
	table := headTable(t)
	for name, h := range handmadeRecords {
		t.Run(name, func(t *testing.T) {
			onFakeTime(t, func(_ *testing.T, r *rig, mini *miniredis.Miniredis) {
				h.check(r, mini, table)
			})
		})
	}
}

// cancelled is the outcome of a Cancel.
func (h handmade) cancelled() string {
	if h.ended == "ended" {
		return "ended"
	}
	return "done"
}

// check makes each call on a new record.
func (h handmade) check(r *rig, mini *miniredis.Miniredis, table map[string]place) {
	r.Helper()
	f := h.fields(time.Now())
	fresh := func() string {
		mini.FlushAll()
		deadline := time.Now().Add(h.deadline)
		if h.score > 0 && h.state == "r" {
			deadline = time.Now().Add(h.last)
		}
		return r.write(mini, f.text(table), h.score*float64(deadline.UnixMicro()))
	}
	same := func(call, got, want string) {
		r.Helper()
		if got != want {
			r.Errorf("%s: got %q, want %q", call, got, want)
		}
	}
	terms := lasting("s")
	terms.MaxAttempts = 5
	rec := r.get("s", fresh())
	same("Get", fmt.Sprint(rec.Status, " ", rec.Attempt), h.reads)
	same("Get, its start", micros(rec.StartedAt), f["started"])
	same("HasPending", fmt.Sprint(r.has(terms, box)), fmt.Sprint(h.claimable))
	got := r.claim(terms, box, 10)
	claimed := len(got) == 1 && got[0].Attempt == h.attempt+1
	same("Claim", fmt.Sprint(claimed), fmt.Sprint(h.claimable))
	ctx := r.Context()
	_, err := r.b.Extend(ctx, backends.Extend{Terms: terms, ID: fresh(), Attempt: 2})
	same("Extend", outcome(err), h.extended)
	_, err = r.b.End(ctx, report(terms, fresh(), 2))
	same("End", outcome(err), h.ended)
	for _, grace := range []time.Duration{0, time.Hour} {
		cancel := gaveUp(terms, fresh())
		cancel.Grace = grace
		_, err = r.b.Cancel(ctx, cancel)
		same("Cancel", outcome(err), h.cancelled())
	}
	c := question(terms, box)
	c.ID = fresh()
	made, err := r.b.Create(ctx, c)
	same("Create again", fmt.Sprint(made.Status, err), h.repeated+"<nil>")
}

// shift removes or adds a byte at the beginning of a field. The following bytes move.
func (p place) shift(text string) map[string]string {
	return map[string]string{"a byte less": text[:p.from] + text[p.from+1:],
		"a byte more": text[:p.from] + "7" + text[p.from:]}
}

// If a field is a byte away from its place, the record is refused or reads differently.
func TestARecordReadsDifferentlyWithAnyFieldShifted(t *testing.T) {
	parallel(t)
	table := headTable(t)
	for name, h := range handmadeRecords {
		t.Run(name, func(t *testing.T) {
			onFakeTime(t, func(t *testing.T, r *rig, mini *miniredis.Miniredis) {
				text := h.fields(time.Now()).text(table)
				right := r.read(r.write(mini, text, 0))
				for field, at := range table {
					for how, shifted := range at.shift(text) {
						if got := r.read(r.write(mini, shifted, 0)); got == right {
							t.Errorf("%s with %s: the record reads as before: %s", field, how, got)
						}
					}
				}
			})
		})
	}
}

// read is the result of Get as a text.
func (r *rig) read(id string) string {
	r.Helper()
	rec, err := r.b.Get(r.Context(), "s", id)
	if err != nil {
		return outcome(err)
	}
	return strings.ReplaceAll(fmt.Sprint(rec, string(rec.Payload)), id, "")
}
