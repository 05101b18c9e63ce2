package dashboard_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/pending/dashboard"
)

// logged checks the number of lines in the log.
func (w *world) logged(want int) {
	w.Helper()
	if got := strings.Count(w.log.String(), "\n"); got != want {
		w.Errorf("the log has %d lines, want %d:\n%.1000s", got, want, w.log)
	}
}

func TestAMailboxThatCannotBeReadIsOnThePageAndInTheLog(t *testing.T) {
	w := newWorld(t, broken{memory.New(), errors.New("the engine is away")}, nil)
	w.create("one")
	w.create("two")
	text := w.get("/")
	w.shows(text, "one", "two", "cannot be read")
	w.hides(text, "the engine is away")
	w.shows(w.log.String(), "the engine is away")
	w.logged(1)
	text = w.get(page("search", "q", "nobody"))
	w.shows(text, "cannot be read")
	w.hides(text, "has live requests")
}

// stuck is a backend that does not answer about one mailbox.
type stuck struct{ *memory.Backend }

func (b stuck) List(
	ctx context.Context, store, mailbox, after string, limit int) (backends.Page, error) {
	if mailbox == "stuck" {
		<-ctx.Done()
		return backends.Page{}, ctx.Err()
	}
	return b.Backend.List(ctx, store, mailbox, after, limit)
}

func TestAMailboxThatDoesNotAnswerHidesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, stuck{memory.New()}, nil)
		w.create("fine")
		w.create("stuck")
		w.shows(w.get("/"), "fine", "stuck", "cannot be read", `data-label="Pending">1<`)
	})
}

func TestALivePageLogsTroubleInARowOnce(t *testing.T) {
	for name, change := range map[string]func(*world){
		"overview": nil,
		"request": func(w *world) {
			w.config.Access = everything
			w.config.Stores[0].Payload = func(context.Context, string) (any, error) {
				return nil, errors.New("the key is away")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, broken{memory.New(), errors.New("the engine is away")}, change)
				r := w.create(box)
				ctx, leave := context.WithTimeout(t.Context(), 50*time.Second)
				defer leave()
				w.ask(httptest.NewRequestWithContext(ctx, "GET",
					page("events", "page", name, "store", "jobs", "id", r.ID), nil))
				w.shows(w.log.String(), "is away")
				w.logged(1)
			})
		})
	}
}

// repeating is a backend that lists a mailbox on two pages.
type repeating struct{ *memory.Backend }

func (repeating) Mailboxes(
	_ context.Context, _, after string, _ int) (backends.MailboxPage, error) {
	page := backends.MailboxPage{Mailboxes: []string{box}}
	if after == "" {
		page.Next = "again"
	}
	return page, nil
}

func TestAMailboxThatComesTwiceIsShownOnce(t *testing.T) {
	w := newWorld(t, repeating{memory.New()}, nil)
	w.create(box)
	if n := strings.Count(w.get("/"), `data-key="jobs `+box+`"`); n != 1 {
		t.Errorf("the overview shows the mailbox %d times", n)
	}
}

// spoiltList is a backend with damaged records only.
type spoiltList struct{ *memory.Backend }

func (spoiltList) List(context.Context, string, string, string, int) (backends.Page, error) {
	return backends.Page{Errs: []error{&backends.CorruptError{ID: "17", Err: errors.New("!")}}}, nil
}

func TestAMailboxOfDamagedRequestsIsNotEmpty(t *testing.T) {
	w := newWorld(t, spoiltList{memory.New()}, nil)
	text := w.get(page("mailbox", "store", "jobs", "name", box))
	w.shows(text, "Unreadable requests on this page: 1.")
	w.hides(text, "has no live requests")
	w.shows(w.log.String(), "17")
}

func TestAPayloadIsShownAsItIs(t *testing.T) {
	w := inMemory(t, func(w *world) {
		w.config.Access = everything
		w.config.Stores[0].Payload = dashboard.Show(w.jobs, nil)
	})
	const address = "https://x/?a=1&b=<2>"
	r, err := w.jobs.Create(t.Context(), box, job{Command: address})
	w.must(err)
	w.shows(w.get(requestPage(r)), `"Command": "`+address+`"`)
}

// jumped is a backend whose clock was set back by an hour after the create.
type jumped struct{ *memory.Backend }

func (b jumped) Get(ctx context.Context, store, id string) (backends.Record, error) {
	rec, err := b.Backend.Get(ctx, store, id)
	rec.CreatedAt = rec.CreatedAt.Add(time.Hour)
	return rec, err
}

func TestATimelineOfAClockThatWasSetBackHasNoNegativeTimes(t *testing.T) {
	w := newWorld(t, jumped{memory.New()}, nil)
	r := w.create(box)
	w.pop(box)
	text := w.get(requestPage(r))
	w.shows(text, "Claimed, attempt 1")
	w.hides(text, "+-")
}
