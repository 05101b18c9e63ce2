package pending_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
)

func TestAListHasTheLiveRequestsOldestFirst(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, twice())
		var want []string
		for range 7 {
			want = append(want, create(t, s).ID)
			calls.Pass(time.Second)
		}
		pop(t, s)
		page, err := s.List(t.Context(), box, pending.ListOptions{})
		mustDo(t, err)
		var got []string
		for _, r := range page.Requests {
			got = append(got, r.ID)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") || page.Next != "" {
			t.Errorf("got %v, next %q; want %v", got, page.Next, want)
		}
		first := page.Requests[0]
		if first.Status != pending.StatusRunning || first.Payload.Owner != "ada" {
			t.Errorf("the first request is %s with payload %+v", first.Status, first.Payload)
		}
		seen := map[string]bool{}
		for after := ""; ; after = page.Next {
			page, err = s.List(t.Context(), box, pending.ListOptions{After: after, Limit: 3})
			mustDo(t, err)
			for _, r := range page.Requests {
				seen[r.ID] = true
			}
			if page.Next == "" {
				break
			}
		}
		if len(seen) != len(want) {
			t.Errorf("the pages have %d requests, want %d", len(seen), len(want))
		}
	})
}

func TestListReportsWhyItFails(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		for want, tc := range map[string]struct {
			mailbox string
			limit   int
		}{"mailbox is empty": {"", 1}, "limit is 101": {box, 101}, "limit is -1": {box, -1}} {
			_, err := s.List(t.Context(), tc.mailbox, pending.ListOptions{Limit: tc.limit})
			checkInvalid(t, err, want)
		}
		writer, err := pending.New(b, codec.Msgpack[job](), policy())
		mustDo(t, err)
		bad, good := create(t, writer), create(t, s)
		page, err := s.List(t.Context(), box, pending.ListOptions{})
		checkDecodeError(t, err, bad.ID, 0)
		if len(page.Requests) != 1 || page.Requests[0].ID != good.ID {
			t.Errorf("got %v, want %s", page.Requests, good.ID)
		}
		_, err = newStore(t, blind{b}, policy()).List(t.Context(), box, pending.ListOptions{})
		checkErr(t, "List over a backend without List", err, errors.ErrUnsupported)
	})
}
