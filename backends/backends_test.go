package backends_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestIDs(t *testing.T) {
	made, derived := backends.NewID("box"), backends.DeriveID("store", "box", "key")
	for _, id := range []string{made, derived} {
		if err := backends.CheckID(id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		if got, want := backends.PartitionOf(id), backends.Partition("box"); got != want {
			t.Errorf("%s: partition %s, want that of its mailbox, %s", id, got, want)
		}
	}
	if backends.NewID("box") == made {
		t.Error("two new ids are equal")
	}
	if backends.DeriveID("store", "box", "key") != derived {
		t.Error("the same key gave another id")
	}
}

func TestDerivedIDsDifferInEachPart(t *testing.T) {
	seen := map[string]string{}
	for _, parts := range [][3]string{{"a", "b", "c"}, {"x", "b", "c"}, {"a", "x", "c"}, {"a", "b", "x"}, {"ab", "", "c"}, {"a", "bc", ""}} {
		id := backends.DeriveID(parts[0], parts[1], parts[2])
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %s have one id", parts, other)
		}
		seen[id] = fmt.Sprint(parts)
	}
}

func TestWhatCannotBeAnID(t *testing.T) {
	good := backends.NewID("box")
	for what, id := range map[string]string{
		"empty": "", "short": good[1:], "long": good + "A",
		"a brace in the partition": "{" + good[1:],
		"upper case there":         "ABCD" + good[4:],
		"lower case behind it":     good[:4] + "a" + good[5:],
		"a slash":                  good[:29] + "/",
		"a digit not of base 32":   good[:29] + "1",
		"more than ASCII":          good[:28] + "é",
	} {
		if backends.CheckID(id) == nil {
			t.Errorf("%s: %q was taken for an id", what, id)
		}
	}
}

func TestHowARecordReadsAsTimePasses(t *testing.T) {
	start := time.UnixMicro(1_000_000_000).UTC()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	pending := backends.Record{Status: backends.StatusPending, CreatedAt: at(0), UpdatedAt: at(0), Deadline: at(10), LastDeadline: at(10)}
	running := backends.Record{Status: backends.StatusRunning, Attempt: 1, CreatedAt: at(0), UpdatedAt: at(5), Deadline: at(10), LastDeadline: at(10)}
	again := running
	again.LastDeadline = at(30)
	cancelled := running
	cancelled.CancelledAs, cancelled.CancelReason = "cancelled", "no longer needed"
	ended := backends.Record{Status: "conflict", UpdatedAt: at(5), Deadline: at(10), LastDeadline: at(10)}
	for name, tc := range map[string]struct {
		rec     backends.Record
		now     time.Time
		status  string
		updated time.Time
		reason  string
	}{
		"pending until its deadline":    {pending, at(10), "pending", at(0), ""},
		"pending, and too late":         {pending, at(10).Add(1), "timeout", at(10), "claimed the request within 10s"},
		"running until its deadline":    {running, at(10), "running", at(5), ""},
		"running, and silent":           {running, at(11), "timeout", at(10), "attempt 1 reported nothing for 5s"},
		"cancelled, in its grace":       {cancelled, at(10), "running", at(5), ""},
		"cancelled, and ignored":        {cancelled, at(11), "cancelled", at(10), "no longer needed"},
		"running with attempts left":    {again, at(10), "running", at(5), ""},
		"expired":                       {again, at(11), "pending", at(10), ""},
		"expired until the last":        {again, at(30), "pending", at(10), ""},
		"expired and not claimed again": {again, at(31), "timeout", at(30), "claimed the request again within 20s"},
		"ended, whatever the time says": {ended, at(99), "conflict", at(5), ""},
	} {
		got := tc.rec.At(tc.now)
		if got.Status != tc.status || !got.UpdatedAt.Equal(tc.updated) || !strings.Contains(got.Error, tc.reason) || (tc.reason == "") != (got.Error == "") {
			t.Errorf("%s: got %s, updated %v, error %q", name, got.Status, got.UpdatedAt.Sub(start), got.Error)
		}
		readAt := tc.now
		if tc.rec.Ended() {
			readAt = tc.rec.UpdatedAt
		}
		if !got.ReadAt.Equal(readAt) {
			t.Errorf("%s: read at %v, want %v", name, got.ReadAt, readAt)
		}
	}
}

func TestErrorsAreTold(t *testing.T) {
	busy := fmt.Errorf("create: %w", &backends.BusyError{ID: "id-1"})
	if !errors.Is(busy, backends.ErrBusy) || !strings.Contains(busy.Error(), "id-1") {
		t.Errorf("a BusyError: %v", busy)
	}
	ended := fmt.Errorf("end: %w", &backends.EndedError{Record: backends.Record{Status: "failed", Payload: []byte("secret")}})
	if !errors.Is(ended, backends.ErrEnded) || !strings.Contains(ended.Error(), "failed") || strings.Contains(ended.Error(), "secret") {
		t.Errorf("an EndedError: %v", ended)
	}
	corrupt := fmt.Errorf("get: %w", &backends.CorruptError{ID: "id-1", Err: io.ErrUnexpectedEOF})
	if !errors.Is(corrupt, io.ErrUnexpectedEOF) || !strings.Contains(corrupt.Error(), "id-1") {
		t.Errorf("a CorruptError: %v", corrupt)
	}
}

// wrapped is a decorator that says what it wraps.
type wrapped struct{ backends.Backend }

func (w wrapped) Unwrap() backends.Backend { return w.Backend }

func TestOptionalInterfacesSurviveDecorators(t *testing.T) {
	type opaque struct{ backends.Backend }
	b := memory.New()
	for name, tc := range map[string]struct {
		b    backends.Backend
		want bool
	}{
		"itself": {b, true}, "wrapped": {wrapped{b}, true}, "twice": {wrapped{wrapped{b}}, true},
		"without Unwrap": {opaque{b}, false}, "nothing": {wrapped{}, false}, "nil": {nil, false},
	} {
		if _, ok := backends.As[backends.Waker](tc.b); ok != tc.want {
			t.Errorf("%s: found a Waker %v, want %v", name, ok, tc.want)
		}
	}
}
