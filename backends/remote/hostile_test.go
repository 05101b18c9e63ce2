package remote_test

import (
	"bytes"
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
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/internal/calls"
)

// memoryBound is how many bytes of memory hostile clients may take.
const memoryBound = 300 << 20

// peak returns the most memory that was in use while do ran, in bytes.
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

// endless is a body that takes no memory of the test: head, then more until it has filled left
// bytes, then tail.
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
	const end = `{"attempt":7,"outcome":"completed","codec":"json",`
	bombs := map[string]endless{
		"payload": {end + `"payload":{"skills":[{}`, ",{}", `]}}`, bombSize},
		"unknown": {end + `"other":[{}`, ",{}", `]}`, bombSize},
		"deep":    {end + `"payload":`, "[[", ``, bombSize},
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
	// A refusal may be lost: the server then closes the connection while the client sends.
	got, ok := statuses.Load("payload" + live)
	if ok && got != http.StatusConflict && got != http.StatusTooManyRequests {
		t.Errorf("the running request: got %v, want 409 (a stale claim) or 429", got)
	}
}

func TestHeadersAndListsAreBounded(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) { c.Stores[0].MaxPayload = 16 << 20 })
	bomb := &endless{`{"payload":1,"headers":{"a":""`, `,"b":""`, `}}`, bombSize}
	used := peak(func() {
		got := r.sendReader("POST", "/requests?store=s&mailbox=x", "t", bomb)
		if got.code() != "invalid" {
			t.Errorf("headers: got %+v", got)
		}
	})
	if used > memoryBound/2 {
		t.Errorf("headers took %d MiB", used>>20)
	}
	for path, bomb := range map[string]*endless{
		"/claim": {`{"claims":[{}`, `,{}`, `]}`, bombSize},
		"/watch": {`{"requests":[""`, `,""`, `]}`, bombSize},
	} {
		if got := r.sendReader("POST", path, "t", bomb); got.code() != "too_large" {
			t.Errorf("%s: got %+v", path, got)
		}
	}
	few := `{"claims":[` + strings.Repeat(`{},`, 64) + `{}]}`
	if got := r.send("POST", "/claim", "t", few); got.code() != "invalid" {
		t.Errorf("65 claims: got %+v", got)
	}
	many := `{"requests":[` + strings.Repeat(`"",`, 4000) + `""]}`
	if got := r.send("POST", "/watch", "t", many); got.code() != "invalid" {
		t.Errorf("4001 topics: got %+v", got)
	}
}

func TestClientsThatNeverReadHoldLittleMemory(t *testing.T) {
	b := newMemory()
	r := newRig(t, b, func(c *remote.Config) { c.Stores[0].MaxPayload = 16 << 20 })
	large := question("s")
	large.Codec, large.Payload = "raw", make([]byte, 15<<20)
	if _, err := b.Create(t.Context(), large); err != nil {
		t.Fatal(err)
	}
	large.Payload = nil
	small := r.create()
	get := "GET /pending/requests/" + large.ID + "?store=s HTTP/1.1\r\nHost: x\r\n" +
		"Authorization: Bearer lazy\r\n\r\n"
	used := peak(func() {
		for range 40 {
			if _, err := r.sendRaw(get); err != nil {
				t.Error(err)
				return
			}
		}
		for range 20 { // the server still serves other callers
			if _, err := r.client.Get(t.Context(), "s", small.ID); err != nil {
				t.Error(err)
			}
		}
		refused := calls.Await(time.Minute, 0, func() bool { // the server first reads the others
			conn, err := r.sendRaw(get)
			if err != nil {
				return false
			}
			var start [len("HTTP/1.1 429")]byte
			_, err = io.ReadFull(conn, start[:])
			return err == nil && string(start[9:]) == "429"
		})
		if !refused {
			t.Error("one more is not refused")
		}
	})
	if used > memoryBound {
		t.Errorf("the clients took %d MiB", used>>20)
	}
	t.Logf("%d MiB", used>>20)
}

// sendRaw opens a connection to the server and writes text to it. It reads no answer. The
// connection closes with the test.
func (r *rig) sendRaw(text string) (net.Conn, error) {
	host := strings.TrimSuffix(strings.TrimPrefix(r.url, "http://"), "/pending")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		return nil, err
	}
	r.Cleanup(func() { conn.Close() })
	_ = conn.(*net.TCPConn).SetReadBuffer(4096)
	_, err = io.WriteString(conn, text)
	return conn, err
}

func TestASlowBodyEndsInTime(t *testing.T) {
	logs := make(lines, 100)
	r := newRig(t, newMemory(), func(c *remote.Config) {
		c.BodyTimeout, c.Access = time.Second, roles{}
		c.Logger = slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	r.client = newClient(t, r.url, "the front end")
	const large = 1 << 19 // a body of this size has c.BodyTimeout to arrive
	id := r.create().ID
	var asked sync.WaitGroup
	defer asked.Wait()
	for _, c := range []struct{ path, token, want string }{
		{"/requests/" + id + "/end?store=s", "the device", "408"},
		{"/requests/" + id + "/end?store=s", "the reader", "403"},
		{"/requests/" + backends.NewID(box) + "/end?store=s", "the device", "404"},
		{"/requests/" + id + "/end?store=s", "nobody", "401"},
		{"/claim", "nobody", "401"},
	} {
		conn, err := r.sendRaw(fmt.Sprintf("POST /pending%s HTTP/1.1\r\nHost: x\r\n"+
			"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n{", c.path, c.token, large))
		if err != nil {
			t.Fatal(err)
		}
		asked.Go(func() {
			text, err := io.ReadAll(conn) // until the server closes the connection
			if err != nil || len(text) < 12 || string(text[9:12]) != c.want {
				t.Errorf("%s as %s: got %q, %v, want %s", c.path, c.token, text, err, c.want)
			}
		})
	}
	for line := range logs {
		if strings.Contains(line, "status=408") {
			if !strings.Contains(line, "the body took too long") {
				t.Errorf("the log has %s", line)
			}
			break
		}
	}
}

func TestAClientThatHangsUpWithinItsBodyIsNoError(t *testing.T) {
	logs := make(lines, 100)
	r := newRig(t, newMemory(), func(c *remote.Config) {
		c.Logger = slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	conn, err := r.sendRaw("POST /pending/claim HTTP/1.1\r\nHost: x\r\n" +
		"Authorization: Bearer t\r\nContent-Length: 100\r\n\r\n{")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	line := <-logs
	if !strings.Contains(line, "hung up") || !strings.Contains(line, "level=DEBUG") {
		t.Errorf("the log has %s", line)
	}
}

func TestARedirectToAnotherHostGetsNothing(t *testing.T) {
	var asked atomic.Int32
	count := func(http.ResponseWriter, *http.Request) { asked.Add(1) }
	thief := httptest.NewServer(http.HandlerFunc(count))
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

func TestPayloadsComeBackByteForByte(t *testing.T) {
	r := newRig(t, newMemory(), nil)
	payloads := []string{"", "null", "1", `"<&\u2028"`, "\"\u2028<&>\"", ` {"a": 1}`,
		"{\"a\" :\n[1 , 2]}", "1\n", "not JSON", "\"\xff\"", "\x00\xff", `{"a":1,"a":2}`, "1e400",
		strings.Repeat("[", 1000) + strings.Repeat("]", 1000)}
	for _, codec := range []string{"json", "raw", "json.zstd"} {
		for _, payload := range payloads {
			c := question("s")
			c.Codec, c.Payload = codec, []byte(payload)
			made, err := r.client.Create(t.Context(), c)
			got, getErr := r.client.Get(t.Context(), "s", c.ID)
			if err != nil || getErr != nil || !bytes.Equal(got.Payload, c.Payload) ||
				!bytes.Equal(made.Payload, c.Payload) || got.Codec != codec {
				t.Errorf("%s %.40q: got %.40q, %.40q, %v, %v",
					codec, payload, made.Payload, got.Payload, err, getErr)
			}
		}
	}
	got := r.send("POST", "/requests?store=s&mailbox=x", "t", `{"payload": {"a":  1}}`)
	if !strings.Contains(got.body, `"codec":"json"`) ||
		!strings.Contains(got.body, `,"payload":{"a":  1}}`) {
		t.Errorf("got %s", got.body)
	}
}
