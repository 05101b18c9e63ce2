package goredis_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

func TestFaultKeysOfAnotherType(t *testing.T) {
	parallel(t)
	plain := lasting("s")
	full := plain
	full.Exclusive, full.MaxAttempts, full.MaxPending = true, 3, 10
	for name, terms := range map[string]backends.Terms{
		"plain": plain, "exclusive with several attempts": full, "large answers": full} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, redistest.Start(t).Client(t))
			r.large = name == "large answers"
			c := question(terms, box)
			if r.large {
				c = large(terms, box)
			}
			keys := r.keys(c)
			for _, step := range r.steps(c) {
				before := r.dump()
				r.checkRefusesLists(step, keys)
				if step.name == "Extend" {
					for _, change := range r.changes(c) {
						r.reset(before)
						r.checkRefusesLists(change, keys)
					}
				}
				r.reset(before)
				if err := step.call(t.Context()); err != nil {
					t.Fatalf("%s: %v", step.name, err)
				}
			}
		})
	}
}

// changes are further calls for a running request.
func (r *rig) changes(c backends.Create) []step {
	progress := r.report(c.Terms, c.ID, c.Mailbox, 1)
	release := backends.Extend{Terms: c.Terms, ID: c.ID, Attempt: 1, Release: true}
	extend := backends.Extend{Terms: c.Terms, ID: c.ID, Attempt: 1, Mailbox: c.Mailbox,
		Codec: progress.Codec, Payload: progress.Payload}
	grace := gaveUp(c.Terms, c.ID)
	grace.Grace = 10 * time.Minute
	return []step{{"Release", call(r.b.Extend, release)}, {"Progress", call(r.b.Extend, extend)},
		{"Cancel", call(r.b.Cancel, gaveUp(c.Terms, c.ID))},
		{"Cancel with a grace", call(r.b.Cancel, grace)}}
}

// checkRefusesLists makes a call with a list at each key in turn. Some of the calls fail. They have
// to fail with WRONGTYPE and change nothing.
func (r *rig) checkRefusesLists(s step, keys map[string]bool) {
	r.Helper()
	before, refused := r.dump(), 0
	for key := range keys {
		r.reset(before)
		r.plant(key)
		planted := r.dump()
		err := s.call(r.Context())
		if err == nil {
			continue
		}
		refused++
		var corrupt *backends.CorruptError
		if !strings.Contains(err.Error(), "WRONGTYPE") && !errors.As(err, &corrupt) {
			r.Errorf("%s with a list at %s: got %v, want WRONGTYPE", s.name, key, err)
		}
		if !maps.Equal(r.dump(), planted) {
			r.Errorf("%s with a list at %s failed and changed a key", s.name, key)
		}
	}
	if refused == 0 {
		r.Errorf("%s refuses no key of another type", s.name)
	}
}

// keys returns the keys of all steps of a request.
func (r *rig) keys(c backends.Create) map[string]bool {
	r.Helper()
	client, recorder := recordingClient(r.T)
	dry := &rig{T: r.T, b: newBackend(r.T, client, &goredis.Options{Prefix: r.prefix})}
	for _, step := range dry.steps(c) {
		_ = step.call(r.Context()) // no server replies
	}
	keys := map[string]bool{}
	for _, key := range recorder.keys {
		keys[key] = true
	}
	return keys
}

// plant replaces a key by a list.
func (r *rig) plant(key string) {
	r.Helper()
	r.do(r.client, "del", key)
	r.do(r.client, "rpush", key, "planted")
}

func TestFaultServerClockJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{"an hour back": -time.Hour,
		"a minute back": -time.Minute, "a minute forward": time.Minute} {
		t.Run(name, func(t *testing.T) {
			m, client := redistest.Mini(t)
			now := time.Now()
			m.SetTime(now)
			r := newRig(t, client)
			terms := lasting("s")
			terms.Exclusive, terms.MaxAttempts = true, 3
			ended := r.create(terms, "ended")
			r.end(terms, r.claim(terms, "ended", 1)[0])
			final := r.get("s", ended.ID)
			r.create(terms, "running")
			running := r.claim(terms, "running", 1)[0]
			waiting := r.create(terms, "waiting")

			m.SetTime(now.Add(jump))

			got := r.get("s", ended.ID)
			if got.Status != final.Status || !got.UpdatedAt.Equal(final.UpdatedAt) {
				t.Errorf("the ended request is %s since %v, was %s since %v",
					got.Status, got.UpdatedAt, final.Status, final.UpdatedAt)
			}
			_, err := r.b.End(t.Context(), report(terms, ended.ID, 1))
			if !errors.Is(err, backends.ErrEnded) {
				t.Errorf("End of the ended request: got %v, want ErrEnded", err)
			}
			r.extend(terms, running)
			r.end(terms, running)
			if !r.has(terms, "waiting") {
				t.Error("the pending request cannot be claimed")
			}
			if got := r.claim(terms, "waiting", 1); len(got) != 1 || got[0].ID != waiting.ID {
				t.Fatalf("got %v, want the pending request", got)
			}
			r.lifecycle(terms, "ended")

			m.SetTime(now)
			if got := r.get("s", waiting.ID); got.Status != backends.StatusRunning {
				t.Errorf("with the right time the running request reads as %s", got.Status)
			}
		})
	}
}

func TestFaultRequestsAreClaimedAfterTheClockWasWrong(t *testing.T) {
	m, client := redistest.Mini(t)
	now := time.Now()
	r := newRig(t, client)
	terms := lasting("s")
	m.SetTime(now.Add(24 * time.Hour))
	early := r.create(terms, box)
	m.SetTime(now)
	late := r.create(terms, box)
	got := map[string]bool{}
	for _, rec := range r.claim(terms, box, 10) {
		got[rec.ID] = true
	}
	if !got[early.ID] || !got[late.ID] || len(got) != 2 {
		t.Errorf("claimed %v, want the requests from before and after the correction", got)
	}
}

func TestFaultRecordsThatCannotBeRead(t *testing.T) {
	parallel(t)
	for name, spoil := range map[string]func(string) string{
		"empty":                  func(string) string { return "" },
		"cut after 20 bytes":     func(r string) string { return r[:20] },
		"cut after 40 bytes":     func(r string) string { return r[:40] },
		"cut after 47 bytes":     func(r string) string { return r[:47] },
		"of another version":     func(r string) string { return "2" + r[1:] },
		"in an unknown state":    func(r string) string { return r[:1] + "z" + r[2:] },
		"with a broken deadline": func(r string) string { return r[:10] + "x" + r[11:] },
		"with a broken creation": func(r string) string { return r[:25] + "x" + r[26:] },
		"garbage":                func(string) string { return strings.Repeat("\xff\x00{}", 100) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, redistest.Start(t).Client(t))
			terms := lasting("s")
			c := question(terms, box)
			if _, err := r.b.Create(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			r.spoil(spoil)
			other := r.create(terms, box)

			claimed, err := r.b.Claim(t.Context(), heartbeat(box, 10, terms, lasting("another")))
			if err != nil || len(claimed[0].Records) != 1 || claimed[0].Records[0].ID != other.ID {
				t.Fatalf("Claim: got %v, %v, want the other request", claimed, err)
			}
			checkCorrupt(t, "Claim", errors.Join(claimed[0].Errs...), c.ID)
			steps := r.steps(c)
			for _, step := range []step{steps[0], steps[3], steps[4], steps[6]} {
				checkCorrupt(t, step.name, step.call(t.Context()), c.ID)
			}
			r.end(terms, claimed[0].Records[0])
			r.lifecycle(terms, "another mailbox")
		})
	}
}

// An Extend does not read headers.
func TestFaultHeadersThatCannotBeRead(t *testing.T) {
	parallel(t)
	for name, list := range map[string]string{"a length with letters": "000140005000xtrace1",
		"a length that is too long": "0001400050002trace1", "no header": "00000"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, redistest.Start(t).Client(t))
			terms := lasting("s")
			c := question(terms, box)
			c.Headers = map[string]string{"trace": "1"}
			if _, err := r.b.Create(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			r.spoil(func(record string) string {
				return strings.Replace(record, "0001400050001trace1", list, 1)
			})
			_, err := r.b.Get(t.Context(), "s", c.ID)
			checkCorrupt(t, "Get", err, c.ID)
			claimed, err := r.b.Claim(t.Context(), heartbeat(box, 10, terms))
			if err != nil {
				t.Fatal(err)
			}
			checkCorrupt(t, "Claim", errors.Join(claimed[0].Errs...), c.ID)
			_, err = r.b.End(t.Context(), report(terms, c.ID, 1))
			checkCorrupt(t, "End", err, c.ID)
		})
	}
}

// spoil changes the only record of the rig.
func (r *rig) spoil(change func(record string) string) {
	r.Helper()
	for _, key := range r.client.Keys(r.Context(), r.prefix+"*").Val() {
		if record, err := r.client.Get(r.Context(), key).Result(); err == nil {
			r.do(r.client, "set", key, change(record), "keepttl")
		}
	}
}

func checkCorrupt(t *testing.T, call string, err error, id string) {
	t.Helper()
	var corrupt *backends.CorruptError
	if !errors.As(err, &corrupt) || corrupt.ID != id {
		t.Errorf("%s: got %v, want a CorruptError of %s", call, err, id)
	}
}
