package machine_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/alicebob/miniredis/v2"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/internal/redistest"
)

// onMini runs a test on miniredis in a bubble.
func onMini(t *testing.T, test func(s *calls.Stage, mini *miniredis.Miniredis)) {
	synctest.Test(t, func(t *testing.T) {
		mini, client := redistest.Mini(t)
		b, err := goredis.New(client, nil)
		if err != nil {
			t.Fatal(err)
		}
		test(&calls.Stage{T: t, B: b}, mini)
	})
}

// recordKey finds where a request is stored.
func recordKey(s *calls.Stage, mini *miniredis.Miniredis, id string) string {
	s.Helper()
	for _, key := range mini.Keys() {
		if strings.HasSuffix(key, "/r/"+id) {
			return key
		}
	}
	s.Fatalf("%s is not stored", id)
	return ""
}

// FuzzRecord plants any bytes where a record should be. Each operation then has an answer, or an
// error that names the request, and the request beside it is served all the same.
func FuzzRecord(f *testing.F) {
	for _, stored := range plantedRecords() {
		f.Add(stored)
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		onMini(t, func(s *calls.Stage, mini *miniredis.Miniredis) {
			terms := calls.Retried()
			bad, good := s.Pending(terms, "bad"), s.Pending(terms, "good")
			key := recordKey(s, mini, bad)
			if err := mini.Set(key, string(stored)); err != nil {
				t.Fatal(err)
			}
			readsOrNames(s, bad, terms.Get(bad))
			readsOrNames(s, bad, terms.Extending(bad))
			claimsBeside(s, terms, bad, good)
			readsOrNames(s, bad, terms.Answer(bad, 1))
			s.Must(terms.Answer(good, 1))
		})
	})
}

// plantedRecords are some that were damaged, or written by another version.
func plantedRecords() [][]byte {
	times := func(n int) string { return strings.Repeat("9999999999999999", n) }
	claimed := times(4) + "0001" + times(1)
	return [][]byte{nil, []byte("1"), []byte("1p"), []byte("2p" + times(2) + "009runtime-103rawx"),
		[]byte("1p" + times(2) + "009runtime-103rawx"), []byte("1r" + claimed + "009runtime-103rawx"),
		[]byte("1e" + claimed + "009runtime-10400000done03rawx"),
		[]byte("1e" + claimed + "009runtime-1000000003rawx"),
		[]byte("1p" + times(2) + "999runtime-1"), []byte("1p" + times(2) + "009runtime-199999"),
		[]byte("1x" + times(2) + "000"),
		[]byte("1r" + times(2) + "009runtime-103rawx"), []byte("1r" + strings.Repeat("-1", 43) + "000"),
		[]byte(strings.Repeat("1p9", 100)), []byte("\x00\xff\r\n")}
}

// readsOrNames makes a call that may succeed, may be refused, or names the request.
func readsOrNames(s *calls.Stage, id string, op any) {
	s.Helper()
	c := &calls.Call{Op: op}
	c.Perform(s.Context(), s.B)
	checkNames(s, id, c.Err)
}

func checkNames(s *calls.Stage, id string, err error) {
	s.Helper()
	var corrupt *backends.CorruptError
	switch {
	case err == nil || calls.Refusal(err):
	case !errors.As(err, &corrupt):
		s.Errorf("got %v, want a CorruptError", err)
	case corrupt.ID != id:
		s.Errorf("the error names %q, want %q", corrupt.ID, id)
	}
}

// claimsBeside claims, and checks that the good request is there whatever becomes of the bad one.
func claimsBeside(s *calls.Stage, terms calls.Store, bad, good string) {
	s.Helper()
	got := s.Must(calls.Poll(2, terms)).Claimed[0]
	for _, err := range got.Errs {
		checkNames(s, bad, err)
	}
	if !slices.ContainsFunc(got.Records, func(r backends.Record) bool { return r.ID == good }) {
		s.Errorf("the good request was not claimed: %v %v", got.Records, got.Errs)
	}
}

// FuzzMailbox stores a request for each of two mailboxes of any names. Neither reaches the other's.
func FuzzMailbox(f *testing.F) {
	for _, pair := range [][2]string{{"a", "b"}, {"}", "{"}, {"{x}", "x"}, {"x}:{y", "x"},
		{"a/q/b", "a"}, {"\x00", " "}, {"*", "?"}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		if one == two || !isMailbox(one) || !isMailbox(two) {
			return // refused before it comes to a backend
		}
		onMini(t, func(s *calls.Stage, mini *miniredis.Miniredis) {
			servesAlone(s, one, two)
			for _, key := range mini.Keys() {
				if tag := "pendingq:{" + backends.Partition(one) + "}:"; !strings.HasPrefix(key, tag) &&
					!strings.HasPrefix(key, "pendingq:{"+backends.Partition(two)+"}:") {
					t.Errorf("key %q is in neither mailbox's partition", key)
				}
			}
		})
	})
}

func isMailbox(name string) bool { return name != "" && len(name) <= 512 && utf8.ValidString(name) }

// servesAlone checks that what is stored for one mailbox is claimed for it, and not for the other.
func servesAlone(s *calls.Stage, one, two string) {
	s.Helper()
	terms := calls.Exclusive()
	c := terms.Question("1")
	c.Mailbox, c.ID = one, backends.DeriveID(terms.Store, one, "1")
	s.Must(c)
	if s.Must(calls.Look{Terms: terms.Terms(), Mailbox: two}).Pending {
		s.Errorf("%q sees what is pending for %q", two, one)
	}
	for _, mailbox := range []string{two, one} {
		p := calls.Poll(2, terms)
		p.Mailbox, p.ID = mailbox, "claim of "+mailbox
		records := s.Must(p).Claimed[0].Records
		if (mailbox == one) != (len(records) == 1) || len(records) == 1 && records[0].Mailbox != one {
			s.Errorf("%q claimed %v of %q", mailbox, records, one)
		}
	}
}
