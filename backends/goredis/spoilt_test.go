package goredis_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/pendingq/pendingq/backends"
)

// A record with any field spoilt, wherever it stands in the queue, hinders no other request. Calls
// that name it say that it is corrupt, or take it for something else; no script fails.
func TestNoSpoiltRecordHindersOthers(t *testing.T) {
	table := headTable(t)
	for name, h := range handmadeRecords {
		for field, at := range table {
			t.Run(name+", "+field, func(t *testing.T) {
				onFakeTime(t, func(t *testing.T, r *rig, mini *miniredis.Miniredis) {
					text := h.fields(time.Now()).text(table)
					spoilt := at.shift(text)
					spoilt["an x in it"] = text[:at.to-1] + "x" + text[at.to:]
					for how, text := range spoilt {
						for where, score := range queueParts(time.Now()) {
							r.passesOver(mini, how+", in the queue among "+where, text, score)
						}
					}
				})
			})
		}
	}
}

// A damaged note of a cancel, and damaged headers, break no script either.
func TestASpoiltNoteOrHeadersBreakNoScript(t *testing.T) {
	table := headTable(t)
	onFakeTime(t, func(t *testing.T, r *rig, mini *miniredis.Miniredis) {
		f := handmadeRecords["cancel noted"].fields(time.Now())
		f["place"], f["headers"] = "2", `{"a":"b"}`
		text := f.text(table)
		for _, part := range []string{"00009{", "0900003completed"} {
			at := strings.Index(text, part)
			if at < 0 {
				t.Fatalf("%q has no %s", text, part)
			}
			for i := range 5 {
				spoilt := text[:at+i] + "x" + text[at+i+1:]
				for where, score := range queueParts(time.Now()) {
					r.passesOver(mini, part+", in the queue among "+where, spoilt, score)
				}
			}
		}
	})
}

// queueParts is a score for each part of a queue: see keys.go.
func queueParts(now time.Time) map[string]float64 {
	micros := func(from time.Duration) float64 { return float64(now.Add(from).UnixMicro()) }
	return map[string]float64{
		"the running": -micros(time.Hour), "expired leases": -micros(-time.Minute),
		"the timed out": micros(-time.Minute), "the waiting": micros(time.Minute)}
}

// passesOver checks that a claim gets what waits beside a record, and that no call breaks a script.
func (r *rig) passesOver(mini *miniredis.Miniredis, what, text string, score float64) {
	r.Helper()
	terms, ctx := lasting("s"), r.Context()
	terms.MaxAttempts = 5
	calls := map[string]func(id string) error{}
	calls["Extend"] = func(id string) error {
		_, err := r.b.Extend(ctx, backends.Extend{Terms: terms, ID: id, Attempt: 2})
		return err
	}
	calls["End"] = func(id string) error {
		_, err := r.b.End(ctx, report(terms, id, 2))
		return err
	}
	for name, grace := range map[string]time.Duration{"Cancel": 0, "Cancel in time": time.Hour} {
		calls[name] = func(id string) error {
			c := gaveUp(terms, id)
			c.Grace = grace
			_, err := r.b.Cancel(ctx, c)
			return err
		}
	}
	calls["Progress"] = func(id string) error {
		_, err := r.b.Extend(ctx, backends.Extend{Terms: terms, ID: id, Attempt: 2,
			Codec: "raw", Payload: []byte("x")})
		return err
	}
	calls["List"] = func(string) error {
		_, err := r.b.List(ctx, "s", box, "", 10)
		return err
	}
	calls["Create"] = func(id string) error {
		c := question(terms, box)
		c.ID = id
		_, err := r.b.Create(ctx, c)
		return err
	}
	calls["Claim"] = func(string) error {
		other := r.create(terms, box)
		claimed, err := r.b.Claim(ctx, heartbeat(box, 10, terms))
		got := func(rec backends.Record) bool { return rec.ID == other.ID }
		if err == nil && !slices.ContainsFunc(claimed[0].Records, got) {
			err = fmt.Errorf("got %v, want the other request, too", claimed)
		}
		return err
	}
	for name, call := range calls {
		mini.FlushAll()
		err := call(r.write(mini, text, score))
		var corrupt *backends.CorruptError
		if err != nil && !decided(err) && !errors.As(err, &corrupt) {
			r.Errorf("%s, %s: %v", what, name, err)
		}
	}
}
