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
			t.Errorf("%s: got partition %s, want its mailbox's, %s", id, got, want)
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
	for _, parts := range [][3]string{
		{"a", "b", "c"}, {"x", "b", "c"}, {"a", "x", "c"}, {"a", "b", "x"},
		{"ab", "", "c"}, {"a", "bc", ""},
	} {
		id := backends.DeriveID(parts[0], parts[1], parts[2])
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %s have the same id", parts, other)
		}
		seen[id] = fmt.Sprint(parts)
	}
}

func TestCheckIDRefusesInvalidIDs(t *testing.T) {
	good := backends.NewID("box")
	for what, id := range map[string]string{
		"empty": "", "short": good[1:], "long": good + "A",
		"a brace in the partition": "{" + good[1:],
		"upper-case partition":     "ABCD" + good[4:],
		"lower case after it":      good[:4] + "a" + good[5:],
		"a slash":                  good[:29] + "/",
		"no base-32 digit":         good[:29] + "1",
		"a letter beyond ASCII":    good[:28] + "é",
	} {
		if backends.CheckID(id) == nil {
			t.Errorf("%s: CheckID accepted %q", what, id)
		}
	}
}

// at is a time so many seconds after the first one.
func at(seconds int) time.Time {
	return time.UnixMicro(1_000_000_000).UTC().Add(time.Duration(seconds) * time.Second)
}

// reading is a record, and the record that At has to return at a time.
type reading struct {
	rec     backends.Record
	now     time.Time
	status  string
	updated int    // in seconds
	reason  string // a part of the error; "" for no error
}

// readings are named by their status and their time.
func readings() map[string]reading {
	const unclaimed, silent = "claimed the request within 10s", "on attempt 1 came for 5s"
	const unclaimedAgain = "claimed the request again within 20s"
	pending := backends.Record{Status: backends.StatusPending,
		CreatedAt: at(0), UpdatedAt: at(0), Deadline: at(10), LastDeadline: at(10)}
	running := backends.Record{Status: backends.StatusRunning, Attempt: 1,
		CreatedAt: at(0), UpdatedAt: at(5), Deadline: at(10), LastDeadline: at(10)}
	again := running
	again.LastDeadline = at(30)
	cancelled := running
	cancelled.CancelledAs, cancelled.CancelReason = "cancelled", "no longer needed"
	ended := backends.Record{Status: "conflict",
		UpdatedAt: at(5), Deadline: at(10), LastDeadline: at(10)}
	return map[string]reading{
		"pending at its deadline":       {pending, at(10), "pending", 0, ""},
		"pending after its deadline":    {pending, at(10).Add(1), "timeout", 10, unclaimed},
		"running at its deadline":       {running, at(10), "running", 5, ""},
		"running after its deadline":    {running, at(11), "timeout", 10, silent},
		"cancelled, in its grace":       {cancelled, at(10), "running", 5, ""},
		"cancelled, after its grace":    {cancelled, at(11), "cancelled", 10, "no longer needed"},
		"running with attempts left":    {again, at(10), "running", 5, ""},
		"expired":                       {again, at(11), "pending", 10, ""},
		"expired, at its last deadline": {again, at(30), "pending", 10, ""},
		"expired and not claimed again": {again, at(31), "timeout", 30, unclaimedAgain},
		"ended long ago":                {ended, at(99), "conflict", 5, ""},
	}
}

func TestARecordReadsDifferentlyAsTimePasses(t *testing.T) {
	for name, want := range readings() {
		got := want.rec.At(want.now)
		if got.Status != want.status || !got.UpdatedAt.Equal(at(want.updated)) {
			t.Errorf("%s: got %s, updated %v", name, got.Status, got.UpdatedAt.Sub(at(0)))
		}
		if !strings.Contains(got.Error, want.reason) || (want.reason == "") != (got.Error == "") {
			t.Errorf("%s: got the error %q, want %q", name, got.Error, want.reason)
		}
		readAt := want.now
		if want.rec.Ended() {
			readAt = want.rec.UpdatedAt
		}
		if !got.ReadAt.Equal(readAt) {
			t.Errorf("%s: read at %v, want %v", name, got.ReadAt, readAt)
		}
	}
}

func TestErrorsNameTheirCause(t *testing.T) {
	busy := fmt.Errorf("create: %w", &backends.BusyError{ID: "id-1"})
	if !errors.Is(busy, backends.ErrBusy) || !strings.Contains(busy.Error(), "id-1") {
		t.Errorf("a BusyError: %v", busy)
	}
	rec := backends.Record{Status: "failed", Payload: []byte("secret")}
	ended := fmt.Errorf("end: %w", &backends.EndedError{Record: rec})
	if !errors.Is(ended, backends.ErrEnded) || !strings.Contains(ended.Error(), "failed") {
		t.Errorf("an EndedError: %v", ended)
	}
	if strings.Contains(ended.Error(), "secret") {
		t.Errorf("an EndedError shows the payload: %v", ended)
	}
	corrupt := fmt.Errorf("get: %w", &backends.CorruptError{ID: "id-1", Err: io.ErrUnexpectedEOF})
	if !errors.Is(corrupt, io.ErrUnexpectedEOF) || !strings.Contains(corrupt.Error(), "id-1") {
		t.Errorf("a CorruptError: %v", corrupt)
	}
}

// wrapped is a decorator with Unwrap.
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

func TestEachSeverityHasAName(t *testing.T) {
	for s, want := range map[backends.Severity]string{
		backends.SeverityInfo: "info", backends.SeverityWarning: "warning",
		backends.SeverityProblem: "problem", 3: "severity 3", -1: "severity -1",
	} {
		if got := s.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
