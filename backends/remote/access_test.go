package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

// roles know a front end and a device, both of box and of store s alone, and a reader.
type roles struct{}

func (roles) Caller(r *http.Request) (string, error) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token == "broken" {
		return "", errBroken
	}
	if !strings.HasPrefix(token, "the ") {
		return "", nil
	}
	return token, nil
}

func (roles) Allow(_ *http.Request, caller string, action remote.Action,
	store, mailbox string) (bool, error) {
	if store != "s" || mailbox != box {
		return false, nil
	}
	switch action {
	case remote.ActionRead:
		return caller != "the stranger", nil
	case remote.ActionCreate, remote.ActionList, remote.ActionCancel:
		return caller == "the front end", nil
	}
	return caller == "the device", nil
}

// operations are all operations on a request of box, on a store and a mailbox.
func operations(store, mailbox, id string) map[string][3]string {
	query := "?" + url.Values{"store": {store}, "mailbox": {mailbox}}.Encode()
	claim := `{"claims":[{"id":"1","mailbox":"` + mailbox + `",` +
		`"from":[{"store":"` + store + `"}]}]}`
	failed := `{"outcome":"failed","codec":"json"}`
	return map[string][3]string{
		"create":  {"POST", "/requests" + query, `{"payload":1}`},
		"get":     {"GET", "/requests/" + id + query, ""},
		"wait":    {"GET", "/requests/" + id + query + "&wait=1ms", ""},
		"events":  {"GET", "/requests/" + id + "/events" + query, ""},
		"cancel":  {"POST", "/requests/" + id + "/cancel" + query, "{}"},
		"extend":  {"POST", "/requests/" + id + "/extend" + query, `{"attempt":1}`},
		"end":     {"POST", "/requests/" + id + "/end" + query, failed},
		"list":    {"GET", "/requests" + query, ""},
		"pending": {"GET", "/pending" + query, ""},
		"claim":   {"POST", "/claim", claim},
	}
}

func TestAHiddenRequestLooksLikeAMissingOne(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) { c.Access = roles{} })
	r.client = newClient(t, r.url, "the front end")
	here := r.create().ID
	nowhere := r.send("GET", "/nothing", "the stranger", "")
	if nowhere.status != http.StatusNotFound || nowhere.code() != "not_found" {
		t.Fatalf("got %+v", nowhere)
	}
	check := func(what, token, store, mailbox, id string) {
		t.Helper()
		for name, op := range operations(store, mailbox, id) {
			got := r.send(op[0], op[1], token, op[2])
			got.header.Del("Connection")
			if got.body != nowhere.body || got.status != nowhere.status {
				t.Errorf("%s, %s: got %d %q", what, name, got.status, got.body)
			}
			if diff := cmp.Diff(nowhere.header, got.header); diff != "" {
				t.Errorf("%s, %s: another header: %s", what, name, diff)
			}
		}
	}
	nowhere.header.Del("Connection")
	check("a stranger", "the stranger", "s", box, here)
	check("a store without rights", "the front end", "t", box, here)
	check("a store that is not served", "the front end", "unknown", box, here)
	other := backends.NewID("another mailbox")
	check("a mailbox without rights", "the front end", "s", "another mailbox", other)
}

func TestRightsAreSeparate(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) { c.Access = roles{} })
	r.client = newClient(t, r.url, "the front end")
	for token, allowed := range map[string]string{
		"the front end": "create get wait events cancel list pending",
		"the device":    "get wait events extend end claim",
		"the reader":    "get wait events",
	} {
		for name, op := range operations("s", box, r.create().ID) {
			if name == "events" {
				continue // of a request that does not end: see TestEvents
			}
			got := r.send(op[0], op[1], token, op[2])
			may := strings.Contains(" "+allowed+" ", " "+name+" ")
			if forbidden := got.status == http.StatusForbidden; forbidden == may {
				t.Errorf("%s, %s: got %d %s", token, name, got.status, got.body)
			}
		}
	}
}

func TestWithoutATokenEveryAnswerIs401(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) { c.Access = roles{} })
	for _, token := range []string{"", "wrong"} {
		for name, op := range operations("s", box, backends.NewID(box)) {
			got := r.send(op[0], op[1], token, op[2])
			if got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: got %+v", name, got)
			}
		}
	}
	_, err := newClient(t, r.url, "wrong").Get(t.Context(), "s", backends.NewID(box))
	if !errors.Is(err, remote.ErrUnauthorized) {
		t.Errorf("got %v, want ErrUnauthorized", err)
	}
	if got := r.send("GET", "/pending?store=s&mailbox=a", "broken", ""); got.code() != "internal" ||
		strings.Contains(got.body, "hunter2") {
		t.Errorf("got %+v", got)
	}
}

func TestWatchesNameNothingHidden(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) { c.Access = roles{} })
	r.client = newClient(t, r.url, "the front end")
	made := r.create()
	watch := `{"requests":["` + made.ID + `"],"mailboxes":["` + box + `"]}`
	deaf := r.watches("the stranger", watch)
	hears := r.watches("the reader", watch)
	r.create()
	if _, err := r.client.Cancel(t.Context(), backends.Cancel{Terms: terms("s"), ID: made.ID,
		Outcome: backends.StatusTimeout}); err != nil {
		t.Fatal(err)
	}
	if hears.next(`{"request":"`+made.ID) == "" {
		t.Error("a reader heard nothing of the request")
	}
	r.server.Drain() // ends both watches
	for deaf.lines.Scan() {
		for _, hidden := range []string{made.ID, box} {
			if text := deaf.lines.Text(); strings.Contains(text, hidden) {
				t.Errorf("a stranger heard %s", text)
			}
		}
	}
}

func TestAClaimIDReachesNoOtherMailbox(t *testing.T) {
	r := newRig(t, newMemory(), nil)
	made := r.create()
	c := poll("s")
	c.ID = "1"
	claimed, err := r.client.Claim(t.Context(), c)
	if err != nil || len(claimed[0].Records) != 1 {
		t.Fatalf("got %v, %v", claimed, err)
	}
	c.Mailbox = "" // becomes another mailbox in the partition of box
	for i := 0; backends.Partition(c.Mailbox) != backends.PartitionOf(made.ID); i++ {
		c.Mailbox = fmt.Sprint("thief-", i)
	}
	claimed, err = r.client.Claim(t.Context(), c)
	if err != nil || len(claimed[0].Records) > 0 {
		t.Errorf("%s got %v, %v", c.Mailbox, claimed, err)
	}
}

// failing is a backend whose Create fails with err.
type failing struct {
	backends.Backend
	err error
}

func (f failing) Create(context.Context, backends.Create) (backends.Record, error) {
	return backends.Record{}, f.err
}

func TestErrorsKeepTheirMeaning(t *testing.T) {
	ended := backends.Record{ID: backends.NewID(box), Mailbox: box, Status: "completed",
		Codec: "json", Payload: []byte(`"answer"`)}
	for name, c := range map[string]struct {
		err, want error
		status    int
	}{
		"not found":   {backends.ErrNotFound, pending.ErrNotFound, 404},
		"ended":       {&backends.EndedError{Record: ended}, pending.ErrEnded, 409},
		"stale claim": {backends.ErrStaleClaim, pending.ErrStaleClaim, 409},
		"busy":        {&backends.BusyError{ID: "the live one"}, pending.ErrBusy, 409},
		"full":        {backends.ErrFull, pending.ErrFull, 429},
		"too large":   {codec.ErrTooLarge, pending.ErrTooLarge, 413},
		"unsupported": {errors.ErrUnsupported, errors.ErrUnsupported, 501},
	} {
		r := newRig(t, failing{memory.New(), c.err}, nil)
		_, err := r.client.Create(t.Context(), question("s"))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		var busy *backends.BusyError
		if errors.As(c.err, &busy) && (!errors.As(err, &busy) || busy.ID != "the live one") {
			t.Errorf("%s: got %v", name, err)
		}
		var e *backends.EndedError
		if errors.As(c.err, &e) && (!errors.As(err, &e) || string(e.Record.Payload) != `"answer"`) {
			t.Errorf("%s: got %v", name, err)
		}
		got := r.send("POST", "/requests?store=s&mailbox="+box, "x", "{}")
		if got.status != c.status {
			t.Errorf("%s: got status %d, want %d", name, got.status, c.status)
		} else if retry := got.header.Get("Retry-After"); (got.status == 429) != (retry != "") {
			t.Errorf("%s: Retry-After is %q", name, retry)
		}
	}
}

func TestAnErrorOfTheEngineStaysOnTheNode(t *testing.T) {
	logs := make(lines, 10)
	r := newRig(t, failing{memory.New(), errBroken}, func(c *remote.Config) {
		c.Logger = slog.New(slog.NewTextHandler(logs, nil))
	})
	got := r.send("POST", "/requests?store=s&mailbox="+box, "tester", `{"payload":"private"}`)
	if got.status != 500 || got.code() != "internal" || strings.Contains(got.body, "10.0.0.1") {
		t.Errorf("got %+v", got)
	}
	if log := <-logs; !strings.Contains(log, "10.0.0.1") || strings.Contains(log, "private") {
		t.Errorf("the log says %s", log)
	}
}

func TestThePoliciesOfTheServerCount(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) {
		c.Stores[0].Exclusive, c.Stores[0].MaxPayload = true, 100
	})
	made := r.create()
	hour := made.Deadline.Sub(made.CreatedAt)
	lenient := question("s")
	lenient.PendingTimeout *= 2
	_, err := r.client.Create(t.Context(), lenient)
	if !errors.Is(err, pending.ErrBusy) || hour.Hours() != 1 {
		t.Errorf("got %v, and a deadline of %v", err, hour)
	}
	lenient.Payload = bytes.Repeat([]byte("1"), 101)
	if _, err := r.client.Create(t.Context(), lenient); !errors.Is(err, pending.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

// spy notes the terms that package pending hands to its backend.
type spy struct {
	backends.Backend
	got backends.Terms
}

func (s *spy) Claim(_ context.Context, c backends.Claim) ([]backends.Claimed, error) {
	s.got = c.From[0].Terms
	return make([]backends.Claimed, 1), nil
}

func TestPoliciesAreHandedToTheBackendAsPackagePendingDoes(t *testing.T) {
	for _, p := range []pending.Policy{
		policy("s"),
		{Name: "s", PendingTimeout: 1234567899, RunningTimeout: 2345678999, Retention: 3456789999,
			MaxAttempts: 3, Exclusive: true, MaxPending: 7, MaxPayload: 9},
	} {
		var direct, served spy
		store, err := pending.New(&direct, codec.JSON[backup](), p)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = store.PopPending(t.Context(), box)
		r := newRig(t, &served, func(c *remote.Config) { c.Stores = []pending.Policy{p} })
		if _, err := r.client.Claim(t.Context(), poll("s")); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(direct.got, served.got); diff != "" {
			t.Error(diff)
		}
	}
}
