package remote_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// stream is an answer that is read a line at a time.
type stream struct {
	*rig
	resp  *http.Response
	lines *bufio.Scanner
}

// open sends a request whose answer is a stream.
func (r *rig) open(method, path, body string, header ...string) stream {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer t")
	if len(header) > 0 {
		req.Header.Set(header[0], header[1])
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { resp.Body.Close() })
	return stream{r, resp, bufio.NewScanner(resp.Body)}
}

// next returns the next line that begins so, without its beginning; "" at the end.
func (s stream) next(beginning string) string {
	s.Helper()
	for s.lines.Scan() {
		if rest, ok := strings.CutPrefix(s.lines.Text(), beginning); ok && rest != "" {
			return rest
		}
	}
	return ""
}

func TestEvents(t *testing.T) {
	r := newRig(t, newMemory(), nil)
	rec := r.running()
	events := r.open("GET", "/requests/"+rec.ID+"/events?store=s", "")
	if got := events.resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("got %s", got)
	}
	check := func(status, payload string) (version string) {
		t.Helper()
		version = events.next("id: ")
		var got struct {
			Status  string
			Payload json.RawMessage
		}
		if err := json.Unmarshal([]byte(events.next("data: ")), &got); err != nil ||
			got.Status != status || string(got.Payload) != payload {
			t.Fatalf("got %+v, %v, want %s %s", got, err, status, payload)
		}
		return version
	}
	check("running", `{"what":"reboot"}`)
	if _, err := r.client.Extend(t.Context(), backends.Extend{Terms: terms("s"), ID: rec.ID,
		Attempt: 1, Codec: "json", Payload: []byte("[1,\n2,\r\n\n3,\r4]")}); err != nil {
		t.Fatal(err)
	}
	seen := check("running", "[1, 2,   3, 4]")
	again := r.open("GET", "/requests/"+rec.ID+"/events?store=s", "", "Last-Event-ID", seen)
	if _, err := r.client.End(t.Context(), completion("s", rec)); err != nil {
		t.Fatal(err)
	}
	last := check("completed", `{"answer":42}`)
	if rest := events.next(""); rest != "" {
		t.Errorf("after the end: %q", rest)
	}
	events = again // skips the event that its reader has seen
	check("completed", `{"answer":42}`)
	over := r.open("GET", "/requests/"+rec.ID+"/events?store=s", "", "Last-Event-ID", last)
	if over.resp.StatusCode != http.StatusNoContent {
		t.Errorf("a reader that has seen the end: got %d, want 204", over.resp.StatusCode)
	}
}

func TestAGetWaitsForTheEnd(t *testing.T) {
	r := newRig(t, newMemory(), nil)
	rec := r.running()
	soon := r.send("GET", "/requests/"+rec.ID+"?store=s&wait=1ms", "t", "")
	if !strings.Contains(soon.body, `"status":"running"`) {
		t.Errorf("a short wait: got %s", soon.body)
	}
	waiting := make(chan answer)
	go func() { waiting <- r.send("GET", "/requests/"+rec.ID+"?store=s&wait=60s", "t", "") }()
	if _, err := r.client.End(t.Context(), completion("s", rec)); err != nil {
		t.Fatal(err)
	}
	if got := <-waiting; !strings.Contains(got.body, `"payload":{"answer":42}`) {
		t.Errorf("got %+v", got)
	}
	for _, wait := range []string{"x", "-1s", "1"} {
		got := r.send("GET", "/requests/"+rec.ID+"?store=s&wait="+wait, "t", "")
		if got.code() != "invalid" {
			t.Errorf("wait=%s: got %+v", wait, got)
		}
	}
}

func TestDrainAnswersWaiters(t *testing.T) {
	r := newRig(t, newMemory(), nil)
	rec := r.running()
	watch := r.open("POST", "/watch", `{"mailboxes":["`+box+`"],"requests":["`+rec.ID+`"]}`)
	if got := watch.next(`{"watching":`); got != "true}" {
		t.Fatalf("got %q", got)
	}
	waiting := make(chan answer)
	go func() { waiting <- r.send("GET", "/requests/"+rec.ID+"?store=s&wait=60s", "t", "") }()
	start := time.Now()
	r.server.Drain()
	if got := <-waiting; !strings.Contains(got.body, `"status":"running"`) {
		t.Errorf("got %+v", got)
	}
	if rest := watch.next(""); rest != "" {
		t.Errorf("got %q", rest)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestAWatchTellsAWorkerWhatToStop(t *testing.T) {
	r := newGracefulRig(t)
	rec := r.running()
	watch := r.open("POST", "/watch", `{"requests":["`+rec.ID+`","no id"],"wait_ms":60000}`)
	watch.next(`{"watching":true}`[:3])
	if _, err := r.client.Cancel(t.Context(), backends.Cancel{Terms: terms("s"), ID: rec.ID,
		Outcome: backends.StatusCancelled, Error: "no longer needed"}); err != nil {
		t.Fatal(err)
	}
	want := `{"request":"` + rec.ID + `","status":"running","cancelled_as":"cancelled",` +
		`"cancel_reason":"no longer needed"}`
	if got := watch.next(`{"request"`); `{"request"`+got != want {
		t.Errorf("got %s", got)
	}
	end := "/requests/" + rec.ID + "/end?store=s"
	stopped := r.send("POST", end, "t", `{"attempt":1,"outcome":"cancelled","codec":"json"}`)
	if !strings.Contains(stopped.body, `"status":"cancelled"`) {
		t.Errorf("got %+v", stopped)
	}
	other := r.running()
	end = "/requests/" + other.ID + "/end?store=s"
	for _, outcome := range []string{"cancelled", "timeout", "pending", "other", ""} {
		if got := r.send("POST", end, "t",
			`{"attempt":1,"codec":"json","outcome":"`+outcome+`"}`); got.code() != "invalid" {
			t.Errorf("outcome %q: got %+v", outcome, got)
		}
	}
	if _, err := r.client.End(t.Context(), completion("s", other)); err != nil {
		t.Fatal(err)
	}
	got := r.send("POST", end, "t", `{"attempt":1,"outcome":"cancelled","codec":"json"}`)
	if got.code() != "ended" {
		t.Errorf("a worker that stopped too late: got %+v", got)
	}
}

// outage is a backend whose Get fails during an outage.
type outage struct {
	backends.Backend
	on     atomic.Bool
	failed atomic.Int32
}

func (o *outage) Get(ctx context.Context, store, id string) (backends.Record, error) {
	if o.on.Load() {
		o.failed.Add(1)
		return backends.Record{}, errBroken
	}
	return o.Backend.Get(ctx, store, id)
}

func (o *outage) Unwrap() backends.Backend { return o.Backend }

func TestAWatchLosesNoSignalInAnOutage(t *testing.T) {
	b := &outage{Backend: newMemory()}
	r := newRig(t, b, nil)
	rec := r.running()
	watch := r.open("POST", "/watch", `{"requests":["`+rec.ID+`"],"wait_ms":60000}`)
	watch.next(`{"watching":true}`[:3])
	b.on.Store(true)
	if _, err := b.End(t.Context(), completion("s", rec)); err != nil {
		t.Fatal(err)
	}
	r.until("the server has looked", func() bool { return b.failed.Load() > 0 })
	b.on.Store(false)
	want := `{"request":"` + rec.ID + `","status":"completed"}`
	if got := watch.next(`{"request"`); `{"request"`+got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAnIdempotencyKeyMakesOneRequest(t *testing.T) {
	r := newRig(t, newMemory(), nil)
	var ids []string
	for range 2 {
		got := r.send("POST", "/requests?store=s&mailbox="+box+"&key=once", "t", `{"payload":1}`)
		var rec struct{ ID string }
		_ = json.Unmarshal([]byte(got.body), &rec)
		ids = append(ids, rec.ID)
	}
	if want := backends.DeriveID("s", box, "once"); ids[0] != want || ids[1] != want {
		t.Errorf("got %v, want %s twice", ids, want)
	}
	for _, query := range []string{"id=x", "id=" + backends.NewID("another"),
		"key=a&id=" + backends.NewID(box)} {
		got := r.send("POST", "/requests?store=s&mailbox="+box+"&"+query, "t", `{"payload":1}`)
		if got.code() != "invalid" {
			t.Errorf("%s: got %+v", query, got)
		}
	}
}

// By default nginx keeps the parts of an answer until it has many.
func TestStreamsAskNginxNotToKeepTheirParts(t *testing.T) {
	r := newRig(t, newMemory(), nil)
	events := r.open("GET", "/requests/"+r.create().ID+"/events?store=s", "")
	watch := r.open("POST", "/watch", `{"mailboxes":["device-7"]}`)
	for _, header := range []http.Header{events.resp.Header, watch.resp.Header} {
		if header.Get("X-Accel-Buffering") != "no" {
			t.Errorf("got %v", header)
		}
	}
}
