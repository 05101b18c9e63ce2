package goredis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/effort"
)

// A record with a damaged field, at any place of the queue, does not affect other requests. Calls
// for the record return a CorruptError, or read it as another record. No script fails.
func TestADamagedRecordAffectsNoOthers(t *testing.T) {
	parallel(t)
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
							if effort.Plain(true, false) {
								break // one part, another one each time
							}
						}
					}
				})
			})
		}
	}
}

// No script fails on the damaged note of a cancel, or on damaged headers.
func TestADamagedNoteOrHeadersBreakNoScript(t *testing.T) {
	parallel(t)
	table := headTable(t)
	onFakeTime(t, func(t *testing.T, r *rig, mini *miniredis.Miniredis) {
		f := handmadeRecords["cancel noted"].fields(time.Now())
		f["place"], f["headers"] = "2", "00010001ab"
		text := f.text(table)
		for _, part := range []string{"000100001", "00010001ab", "0900003completed"} {
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

// queueParts has a score in each part of a queue: see keys.go.
func queueParts(now time.Time) map[string]float64 {
	micros := func(from time.Duration) float64 { return float64(now.Add(from).UnixMicro()) }
	return map[string]float64{
		"the running": -micros(time.Hour), "expired leases": -micros(-time.Minute),
		"the timed out": micros(-time.Minute), "the waiting": micros(time.Minute)}
}

// passesOver checks that a claim gets another request beside a record, and that no script fails.
func (r *rig) passesOver(mini *miniredis.Miniredis, what, text string, score float64) {
	r.Helper()
	terms := lasting("s")
	terms.MaxAttempts = 5
	id := backends.NewID(box)
	for _, step := range append(r.callsFor(terms, id), step{"Claim beside", r.claimBeside(terms)}) {
		mini.FlushAll()
		r.writeAs(mini, id, text, score)
		err := step.call(r.Context())
		var corrupt *backends.CorruptError
		if err != nil && !decided(err) && !errors.As(err, &corrupt) {
			r.Errorf("%s, %s: %v", what, step.name, err)
		}
	}
}

// callsFor are all calls for a request that may change it.
func (r *rig) callsFor(terms backends.Terms, id string) []step {
	extend := backends.Extend{Terms: terms, ID: id, Attempt: 2}
	progress := extend
	progress.Codec, progress.Payload = "raw", []byte("x")
	cancel := gaveUp(terms, id)
	grace := cancel
	grace.Grace = time.Hour
	create := question(terms, box)
	create.ID = id
	return []step{
		{"Extend", call(r.b.Extend, extend)},
		{"Extend with progress", call(r.b.Extend, progress)},
		{"End", call(r.b.End, report(terms, id, 2))},
		{"Cancel", call(r.b.Cancel, cancel)},
		{"Cancel with a grace", call(r.b.Cancel, grace)},
		{"Create", call(r.b.Create, create)},
		{"List", func(ctx context.Context) error {
			_, err := r.b.List(ctx, "s", box, "", 10)
			return err
		}},
	}
}

// claimBeside creates another request, and claims it.
func (r *rig) claimBeside(terms backends.Terms) func(context.Context) error {
	return func(ctx context.Context) error {
		other := r.create(terms, box)
		claimed, err := r.b.Claim(ctx, heartbeat(box, 10, terms))
		isOther := func(rec backends.Record) bool { return rec.ID == other.ID }
		if err == nil && !slices.ContainsFunc(claimed[0].Records, isOther) {
			return fmt.Errorf("got %v, want also the other request", claimed)
		}
		return err
	}
}
