package proof_test

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
	"github.com/pendingq/pendingq/internal/redistest"
)

// onMini runs a test on miniredis in a bubble.
func onMini(t *testing.T, test func(s *stage, mini *miniredis.Miniredis)) {
	synctest.Test(t, func(t *testing.T) {
		mini, client := redistest.Mini(t)
		b, err := goredis.New(client, nil)
		if err != nil {
			t.Fatal(err)
		}
		test(&stage{t, b}, mini)
	})
}

// recordKey finds where a request is stored.
func recordKey(s *stage, mini *miniredis.Miniredis, id string) string {
	s.Helper()
	for _, key := range mini.Keys() {
		if strings.HasSuffix(key, "/r/"+id) {
			return key
		}
	}
	s.Fatalf("%s is not stored", id)
	return ""
}

// FuzzRecord plants any bytes where a record should be. Each operation then has an answer, or an error that names
// the request, and the request beside it is served all the same.
func FuzzRecord(f *testing.F) {
	for _, stored := range plantedRecords() {
		f.Add(stored)
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		onMini(t, func(s *stage, mini *miniredis.Miniredis) {
			terms := retried()
			bad, good := s.pending(terms, "bad"), s.pending(terms, "good")
			key := recordKey(s, mini, bad)
			if err := mini.Set(key, string(stored)); err != nil {
				t.Fatal(err)
			}
			s.readsOrNames(bad, get{terms, bad})
			s.readsOrNames(bad, backends.Extend{Terms: terms, ID: bad, Attempt: 1})
			s.claimsBeside(terms, bad, good)
			s.readsOrNames(bad, answer(terms, bad, 1))
			s.must(answer(terms, good, 1))
		})
	})
}

// plantedRecords are some that were damaged, or written by another version.
func plantedRecords() [][]byte {
	times := func(n int) string { return strings.Repeat("9999999999999999", n) }
	claimed := times(4) + "0001" + times(1)
	return [][]byte{nil, []byte("1"), []byte("1p"), []byte("2p" + times(2) + "009runtime-103rawx"),
		[]byte("1p" + times(2) + "009runtime-103rawx"), []byte("1r" + claimed + "009runtime-103rawx"),
		[]byte("1e" + claimed + "009runtime-10400000done03rawx"), []byte("1e" + claimed + "009runtime-1000000003rawx"),
		[]byte("1p" + times(2) + "999runtime-1"), []byte("1p" + times(2) + "009runtime-199999"), []byte("1x" + times(2) + "000"),
		[]byte("1r" + times(2) + "009runtime-103rawx"), []byte("1r" + strings.Repeat("-1", 43) + "000"),
		[]byte(strings.Repeat("1p9", 100)), []byte("\x00\xff\r\n")}
}

// readsOrNames makes a call that may succeed, may be refused, or names the request.
func (s *stage) readsOrNames(id string, op any) {
	s.Helper()
	c := &call{op: op}
	c.perform(s.Context(), s.b)
	s.checkNames(id, c.err)
}

func (s *stage) checkNames(id string, err error) {
	s.Helper()
	var corrupt *backends.CorruptError
	switch {
	case err == nil || refusal(err):
	case !errors.As(err, &corrupt):
		s.Errorf("got %v, want a CorruptError", err)
	case corrupt.ID != id:
		s.Errorf("the error names %q, want %q", corrupt.ID, id)
	}
}

// claimsBeside claims, and checks that the good request is there whatever becomes of the bad one.
func (s *stage) claimsBeside(terms backends.Terms, bad, good string) {
	s.Helper()
	got := s.must(poll(2, terms)).claimed[0]
	for _, err := range got.Errs {
		s.checkNames(bad, err)
	}
	if !slices.ContainsFunc(got.Records, func(r backends.Record) bool { return r.ID == good }) {
		s.Errorf("the good request was not claimed: %v %v", got.Records, got.Errs)
	}
}

// FuzzMailbox stores a request for each of two mailboxes of any names. Neither reaches the other's.
func FuzzMailbox(f *testing.F) {
	for _, pair := range [][2]string{{"a", "b"}, {"}", "{"}, {"{x}", "x"}, {"x}:{y", "x"}, {"a/q/b", "a"}, {"\x00", " "}, {"*", "?"}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		if one == two || !isMailbox(one) || !isMailbox(two) {
			return // refused before it comes to a backend
		}
		onMini(t, func(s *stage, mini *miniredis.Miniredis) {
			s.servesAlone(one, two)
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
func (s *stage) servesAlone(one, two string) {
	s.Helper()
	terms := exclusive()
	c := question(terms, "1")
	c.Mailbox, c.ID = one, backends.DeriveID(terms.Store, one, "1")
	s.must(c)
	if s.must(look{terms, two}).pending {
		s.Errorf("%q sees what is pending for %q", two, one)
	}
	for _, mailbox := range []string{two, one} {
		p := poll(2, terms)
		p.Mailbox, p.ID = mailbox, "claim of "+mailbox
		records := s.must(p).claimed[0].Records
		if (mailbox == one) != (len(records) == 1) || len(records) == 1 && records[0].Mailbox != one {
			s.Errorf("%q claimed %v of %q", mailbox, records, one)
		}
	}
}
