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
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/internal/redistest"
)

// onMini runs a test on miniredis in a bubble.
func onMini(t *testing.T, test func(s *calls.Stage, mini *miniredis.Miniredis)) {
	synctest.Test(t, func(t *testing.T) {
		mini, client := redistest.Mini(t)
		test(&calls.Stage{T: t, B: open(t, client)}, mini)
	})
}

// recordKey returns the key of a stored request.
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

// FuzzRecord replaces a record by any bytes. Then each operation succeeds, is refused, or returns
// an error that names the request. Another request of the mailbox is served as usual.
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
			checkCall(s, bad, terms.Get(bad))
			checkCall(s, bad, terms.Extending(bad))
			checkClaimsGood(s, terms, bad, good)
			checkCall(s, bad, terms.Answer(bad, 1))
			s.Must(terms.Answer(good, 1))
		})
	})
}

// plantedRecords are records that are valid, damaged, or of another version.
func plantedRecords() [][]byte {
	times := func(n int) string { return strings.Repeat("9999999999999999", n) }
	claimed := times(4) + "0001" + times(1)
	return [][]byte{
		nil,
		[]byte("1"),
		[]byte("1p"),
		[]byte("2p" + times(2) + "009runtime-103rawx"),
		[]byte("1p" + times(2) + "009runtime-103rawx"),
		[]byte("1r" + claimed + "009runtime-103rawx"),
		[]byte("1e" + claimed + "009runtime-10400000done03rawx"),
		[]byte("1e" + claimed + "009runtime-1000000003rawx"),
		[]byte("1p" + times(2) + "999runtime-1"),
		[]byte("1p" + times(2) + "009runtime-199999"),
		[]byte("1x" + times(2) + "000"),
		[]byte("1r" + times(2) + "009runtime-103rawx"),
		[]byte("1r" + strings.Repeat("-1", 43) + "000"),
		[]byte(strings.Repeat("1p9", 100)),
		[]byte("\x00\xff\r\n"),
	}
}

// checkCall checks that a call succeeds, is refused, or returns an error that names the request.
func checkCall(s *calls.Stage, id string, op any) {
	s.Helper()
	c := &calls.Call{Op: op}
	c.Perform(s.Context(), s.B)
	checkNames(s, id, c.Err)
}

// checkNames checks that an error is a refusal or names the request.
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

// checkClaimsGood checks that a claim gets the good request in spite of the bad one.
func checkClaimsGood(s *calls.Stage, terms calls.Store, bad, good string) {
	s.Helper()
	got := s.Must(calls.Poll(2, terms)).Claimed[0]
	for _, err := range got.Errs {
		checkNames(s, bad, err)
	}
	if !slices.ContainsFunc(got.Records, func(r backends.Record) bool { return r.ID == good }) {
		s.Errorf("the good request was not claimed: %v %v", got.Records, got.Errs)
	}
}

// FuzzMailbox stores a request in a mailbox. Another mailbox with any name does not see it.
func FuzzMailbox(f *testing.F) {
	for _, pair := range [][2]string{{"a", "b"}, {"}", "{"}, {"{x}", "x"}, {"x}:{y", "x"},
		{"a/q/b", "a"}, {"\x00", " "}, {"*", "?"}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		if one == two || !isMailbox(one) || !isMailbox(two) {
			return // package pending refuses these names
		}
		onMini(t, func(s *calls.Stage, mini *miniredis.Miniredis) {
			checkApart(s, one, two)
			for _, key := range mini.Keys() {
				if !inPartition(key, one) && !inPartition(key, two) {
					t.Errorf("key %q is in neither mailbox's partition", key)
				}
			}
		})
	})
}

func inPartition(key, mailbox string) bool {
	return strings.HasPrefix(key, "pendingq:{"+backends.Partition(mailbox)+"}:")
}

func isMailbox(name string) bool { return name != "" && len(name) <= 512 && utf8.ValidString(name) }

// checkApart checks that a request of one mailbox is claimed there, and not in the other mailbox.
func checkApart(s *calls.Stage, one, two string) {
	s.Helper()
	terms := calls.Exclusive()
	c := terms.Question("1")
	c.Mailbox, c.ID = one, backends.DeriveID(terms.Store, one, "1")
	s.Must(c)
	if s.Must(calls.Look{Terms: terms.Terms(), Mailbox: two}).Pending {
		s.Errorf("HasPending of mailbox %q sees the request of %q", two, one)
	}
	claim := func(mailbox string) []backends.Record {
		p := calls.Poll(2, terms)
		p.Mailbox, p.ID = mailbox, "claim of "+mailbox
		return s.Must(p).Claimed[0].Records
	}
	if got := claim(two); len(got) != 0 {
		s.Errorf("mailbox %q claimed %v of mailbox %q", two, got, one)
	}
	if got := claim(one); len(got) != 1 || got[0].Mailbox != one {
		s.Errorf("mailbox %q claimed %v, want its request", one, got)
	}
}
