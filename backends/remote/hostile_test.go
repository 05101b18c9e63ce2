package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/pending"
)

func TestAFrontEndThatParksWhatItMayStarvesNoDevice(t *testing.T) {
	var parked, refused atomic.Int32
	r := newRig(t, newMemory(), func(c *remote.Config) { c.MaxParkedOfMailbox = 100 })
	r.client = newClient(t, r.url, "the member")
	ctx, hangUp := context.WithCancel(t.Context())
	var waits sync.WaitGroup
	defer waits.Wait()
	defer hangUp()
	id := r.running().ID
	for range 120 {
		waits.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, "GET", r.url+"/requests/"+id+"?store=s&wait=60s", nil)
			req.Header.Set("Authorization", "Bearer the member")
			parked.Add(1)
			resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
			parked.Add(-1)
			if err != nil {
				return
			}
			defer resp.Body.Close()
			if resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "" {
				refused.Add(1)
			}
		})
	}
	r.until("20 are refused, and 100 wait", func() bool {
		return refused.Load() == 20 && parked.Load() == 100
	})
	device := newClient(t, r.url, "the device")
	signal, stop := device.WatchMailbox(t.Context(), box)
	defer stop()
	if device.PollInterval() < 15*time.Second {
		t.Error("the device found no place to wait in")
	}
	made := r.create()
	r.signalled(signal)
	claimed, err := device.Claim(t.Context(), poll("s"))
	if err != nil || claimed[0].Records[0].ID != made.ID {
		t.Fatalf("claim: got %v, %v", claimed, err)
	}
	if _, err := device.End(t.Context(), completion("s", claimed[0].Records[0])); err != nil {
		t.Error(err)
	}
}

// A busy device waits for cancels of what it works on. That counts as the side of workers.
func TestAFrontEndThatParksWhatItMayLeavesABusyDeviceItsPlace(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) { c.MaxParked, c.Access = 1, roles{} })
	r.client = newClient(t, r.url, "the front end")
	id := r.create().ID
	device := newClient(t, r.url, "the device")
	if _, err := device.Claim(t.Context(), poll("s")); err != nil {
		t.Fatal(err)
	}
	_, stop := r.client.WatchRequest(t.Context(), id)
	defer stop()
	other := newClient(t, r.url, "the front end")
	_, stop = other.WatchRequest(t.Context(), id)
	defer stop()
	if other.PollInterval() > 2*time.Second {
		t.Error("the front end found a second place")
	}
	signal, stop := device.WatchRequest(t.Context(), id)
	defer stop()
	if device.PollInterval() < 15*time.Second {
		t.Error("the device found no place")
	}
	_, err := r.client.Cancel(t.Context(), backends.Cancel{Terms: terms("s"), ID: id,
		Outcome: backends.StatusCancelled})
	if err != nil {
		t.Fatal(err)
	}
	r.signalled(signal)
}

func TestADeviceThatFindsNoPlaceToWaitClaimsAllTheSame(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) { c.MaxParked = 1 })
	r.client = newClient(t, r.url, "first")
	_, stop := r.client.WatchMailbox(t.Context(), "another")
	defer stop()
	device := newClient(t, r.url, "device")
	_, stop = device.WatchMailbox(t.Context(), box)
	defer stop()
	if device.PollInterval() > 2*time.Second {
		t.Errorf("it trusts silence for %v", device.PollInterval())
	}
	r.create()
	if claimed, err := device.Claim(t.Context(), poll("s")); err != nil || len(claimed[0].Records) != 1 {
		t.Errorf("claim: got %v, %v", claimed, err)
	}
}

// memoryBound is how much memory hostile clients may take.
const memoryBound = 300 << 20

// peak measures how much memory is in use while do runs.
func peak(do func()) (most uint64) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	var m runtime.MemStats
	for ticker := time.NewTicker(50 * time.Millisecond); ; {
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapInuse+m.StackInuse)
		select {
		case <-ticker.C:
		case <-done:
			ticker.Stop()
			return most
		}
	}
}

// endless is a body of 15 MB that takes no memory of the test.
type endless struct {
	head, more, tail string
	left             int
}

func (e *endless) Read(p []byte) (int, error) {
	switch {
	case e.head != "":
		n := copy(p, e.head)
		e.head = e.head[n:]
		return n, nil
	case e.left > 0:
		n := copy(p, strings.Repeat(e.more, len(p)/len(e.more)))
		e.left -= n
		return n, nil
	case e.tail != "":
		n := copy(p, e.tail)
		e.tail = e.tail[n:]
		return n, nil
	}
	return 0, io.EOF
}

const bombSize = 15 << 20

func TestBombsTakeLittleMemory(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) { c.Stores[0].MaxPayload = 16 << 20 })
	live := r.running().ID
	bombs := map[string]endless{
		"payload": {`{"attempt":7,"outcome":"completed","codec":"json","payload":{"skills":[{}`, ",{}", `]}}`, bombSize},
		"unknown": {`{"attempt":7,"outcome":"completed","codec":"json","other":[{}`, ",{}", `]}`, bombSize},
		"deep":    {`{"attempt":7,"outcome":"completed","codec":"json","payload":`, "[[", ``, bombSize},
	}
	var statuses sync.Map
	used := peak(func() {
		var all sync.WaitGroup
		for name, bomb := range bombs {
			for i, id := range []string{live, backends.NewID(box), "wrong"} {
				all.Go(func() {
					body := bomb
					req, _ := http.NewRequest("POST", r.url+"/requests/"+id+"/end?store=s", &body)
					req.Header.Set("Authorization", fmt.Sprint("Bearer ", i))
					resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
					if err == nil {
						resp.Body.Close()
						statuses.Store(name+id, resp.StatusCode)
					}
				})
			}
		}
		all.Wait()
	})
	if used > memoryBound {
		t.Errorf("bombs took %d MiB", used>>20)
	}
	if rec, err := r.client.Get(t.Context(), "s", live); err != nil || rec.Status != "running" {
		t.Errorf("got %v, %v", rec.Status, err)
	}
	t.Logf("%d MiB", used>>20)
	if got, _ := statuses.Load("payload" + live); got != http.StatusConflict && got != http.StatusTooManyRequests {
		t.Errorf("a live one: got %v, want 409: it is a stale claim", got)
	}
}

func TestHeadersAndListsAreBounded(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) { c.Stores[0].MaxPayload = 16 << 20 })
	bomb := &endless{`{"payload":1,"headers":{"a":""`, `,"b":""`, `}}`, bombSize}
	used := peak(func() {
		if got := r.sendReader("POST", "/requests?store=s&mailbox=x", "t", bomb); got.code() != "invalid" {
			t.Errorf("headers: got %+v", got)
		}
	})
	if used > memoryBound/2 {
		t.Errorf("headers took %d MiB", used>>20)
	}
	for path, bomb := range map[string]*endless{
		"/claim":  {`{"from":[{}`, `,{}`, `]}`, bombSize},
		"/claims": {`{"claims":[{}`, `,{}`, `]}`, bombSize},
		"/watch":  {`{"requests":[""`, `,""`, `]}`, bombSize},
	} {
		if got := r.sendReader("POST", path, "t", bomb); got.code() != "too_large" {
			t.Errorf("%s: got %+v", path, got)
		}
	}
	few := `{"claims":[` + strings.Repeat(`{},`, 64) + `{}]}`
	if got := r.send("POST", "/claims", "t", few); got.code() != "invalid" {
		t.Errorf("65 claims: got %+v", got)
	}
	many := `{"requests":[` + strings.Repeat(`"",`, 4000) + `""]}`
	if got := r.send("POST", "/watch", "t", many); got.code() != "invalid" {
		t.Errorf("4001 topics: got %+v", got)
	}
}

func TestReadersThatNeverReadHoldLittle(t *testing.T) {
	b := newMemory()
	r := newRig(t, b, func(c *remote.Config) { c.Stores[0].MaxPayload = 16 << 20 })
	large := question("s")
	large.Codec, large.Payload = "raw", make([]byte, 15<<20)
	if _, err := b.Create(t.Context(), large); err != nil {
		t.Fatal(err)
	}
	large.Payload = nil
	small := r.create()
	host := strings.TrimSuffix(strings.TrimPrefix(r.url, "http://"), "/pending")
	used := peak(func() {
		for range 40 {
			conn, err := net.Dial("tcp", host)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.(*net.TCPConn).SetReadBuffer(4096)
			fmt.Fprintf(conn, "GET /pending/requests/%s?store=s HTTP/1.1\r\nHost: x\r\n"+
				"Authorization: Bearer lazy\r\n\r\n", large.ID)
		}
		for range 20 { // others are served meanwhile
			if _, err := r.client.Get(t.Context(), "s", small.ID); err != nil {
				t.Error(err)
			}
		}
		var refused [12]byte
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /pending/requests/%s?store=s HTTP/1.1\r\nHost: x\r\n"+
			"Authorization: Bearer lazy\r\n\r\n", large.ID)
		if _, err := io.ReadFull(conn, refused[:]); err != nil || string(refused[9:]) != "429" {
			t.Errorf("one more: got %q, %v, want 429", refused, err)
		}
	})
	if used > memoryBound {
		t.Errorf("readers took %d MiB", used>>20)
	}
	t.Logf("%d MiB", used>>20)
}

func TestASlowBodyEndsInTime(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) {
		c.BodyTimeout, c.Access = 100*time.Millisecond, roles{}
	})
	r.client = newClient(t, r.url, "the front end")
	large := fmt.Sprint(1 << 19) // a large body has the configured time, here little
	id := r.create().ID
	for _, c := range []struct{ path, token, want string }{
		{"/requests/" + id + "/end?store=s", "the device", "408"},
		{"/requests/" + id + "/end?store=s", "the reader", "403"},
		{"/requests/" + backends.NewID(box) + "/end?store=s", "the device", "404"},
		{"/requests/" + id + "/end?store=s", "nobody", "401"},
		{"/claim", "nobody", "401"},
	} {
		conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(r.url, "http://"), "/pending"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /pending%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
			"Content-Length: %s\r\n\r\n{", c.path, c.token, large)
		text, err := io.ReadAll(conn) // to the end: the server hangs up
		if err != nil || len(text) < 12 || string(text[9:12]) != c.want {
			t.Errorf("%s as %s: got %q, %v, want %s", c.path, c.token, text, err, c.want)
		}
	}
}

// hanging is a backend that answers nothing until the context ends.
type hanging struct{ backends.Backend }

func (hanging) Get(ctx context.Context, _, _ string) (backends.Record, error) {
	<-ctx.Done()
	return backends.Record{}, ctx.Err()
}

func TestABackendThatHangsIsGivenUp(t *testing.T) {
	r := newRig(t, hanging{memory.New()}, func(c *remote.Config) { c.CallTimeout = 20 * time.Millisecond })
	got := r.send("GET", "/requests/"+backends.NewID(box)+"?store=s", "t", "")
	if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		t.Errorf("got %+v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := r.client.Get(ctx, "s", backends.NewID(box))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "did not answer in time") {
		t.Errorf("got %v, want the deadline and its cause", err)
	}
}

// H9: a network that swallows what is sent. Nobody accepts the connections of this listener.
func TestAServerThatNeverAnswersIsGivenUp(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c := newClient(t, "http://"+listener.Addr().String(), "t")
	_, stop := c.WatchMailbox(t.Context(), box)
	stop()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = c.Create(ctx, question("s"))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "POST /requests") {
		t.Errorf("got %v, want the deadline, and what was attempted", err)
	}
}

func TestAClientThatHangsUpIsNoError(t *testing.T) {
	logs := make(lines, 100)
	b := hanging{memory.New()}
	r := newRig(t, b, func(c *remote.Config) {
		c.Logger = slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	ctx, hangUp := context.WithCancel(t.Context())
	go func() { hangUp() }()
	_, err := r.client.Get(ctx, "s", backends.NewID(box))
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	// Whether the request had got to the server is not known. Another one has.
	ctx, hangUp = context.WithCancel(t.Context())
	defer hangUp()
	waiting := newRig(t, stopping{memory.New(), hangUp}, func(c *remote.Config) {
		c.Logger = slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	_, _ = waiting.client.Get(ctx, "s", backends.NewID(box))
	for line := range logs {
		if strings.Contains(line, "hung up") {
			if !strings.Contains(line, "level=DEBUG") {
				t.Errorf("the log says %s", line)
			}
			return
		}
	}
}

// stopping hangs, and has its client hang up.
type stopping struct {
	backends.Backend
	hangUp func()
}

func (s stopping) Get(ctx context.Context, _, _ string) (backends.Record, error) {
	s.hangUp()
	<-ctx.Done()
	return backends.Record{}, ctx.Err()
}

func TestARedirectToAnotherHostGetsNothing(t *testing.T) {
	var asked atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(thief.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, thief.URL+"/pending"+r.URL.Path, status)
		}))
		c := newClient(t, url, "secret")
		_, err := c.Create(t.Context(), question("s"))
		if err == nil || asked.Load() > 0 || strings.Contains(err.Error(), "secret") {
			t.Errorf("%d: got %v; the other host was asked %d times", status, err, asked.Load())
		}
		_, stop := c.WatchMailbox(t.Context(), box)
		stop()
	}
	if asked.Load() > 0 {
		t.Errorf("the other host was asked %d times", asked.Load())
	}
}

func TestBadURLsAreRefusedWithoutTheirSecrets(t *testing.T) {
	for _, url := range []string{"", "node.example", "ftp://x", "http://", "http://user:hunter2@x/",
		"http://x/?token=hunter2", "http://hunter2\x00", "http://hunter2:port/"} {
		if _, err := remote.New(url, nil); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v", url, err)
		}
	}
}

func TestAConfigThatCannotWorkIsRefused(t *testing.T) {
	good := remote.Config{Stores: []pending.Policy{policy("s")}, Access: everything{}}
	for name, change := range map[string]func(*remote.Config){
		"no stores":        func(c *remote.Config) { c.Stores = nil },
		"no access":        func(c *remote.Config) { c.Access = nil },
		"a store twice":    func(c *remote.Config) { c.Stores = append(c.Stores, policy("s")) },
		"a bad policy":     func(c *remote.Config) { c.Stores = []pending.Policy{{Name: "s"}} },
		"a negative limit": func(c *remote.Config) { c.MaxParked = -1 },
	} {
		c := good
		change(&c)
		if _, err := remote.Handler(memory.New(), c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPayloadsComeBackByteForByte(t *testing.T) {
	r := newRig(t, newMemory(), nil)
	for _, codec := range []string{"json", "raw", "json.zstd"} {
		for _, payload := range []string{"", "null", "1", `"<&\u2028"`, "\"\u2028<&>\"", ` {"a": 1}`,
			"{\"a\" :\n[1 , 2]}", "1\n", "not JSON", "\"\xff\"", "\x00\xff", `{"a":1,"a":2}`, "1e400",
			strings.Repeat("[", 1000) + strings.Repeat("]", 1000)} {
			c := question("s")
			c.Codec, c.Payload = codec, []byte(payload)
			made, err := r.client.Create(t.Context(), c)
			got, getErr := r.client.Get(t.Context(), "s", c.ID)
			if err != nil || getErr != nil || !bytes.Equal(got.Payload, c.Payload) ||
				!bytes.Equal(made.Payload, c.Payload) || got.Codec != codec {
				t.Errorf("%s %.40q: got %.40q, %.40q, %v, %v", codec, payload, made.Payload, got.Payload, err, getErr)
			}
		}
	}
	got := r.send("POST", "/requests?store=s&mailbox=x", "t", `{"payload": {"a":  1}}`)
	if !strings.Contains(got.body, `"codec":"json","payload":{"a":  1}`) {
		t.Errorf("got %s", got.body)
	}
}
