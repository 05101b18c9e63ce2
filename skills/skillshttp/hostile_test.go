package skillshttp_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// The server of these tests is a process of its own, so that its memory is measured alone.
const hostileEnv = "PENDINGQ_TEST_SERVER"

// serveAlone serves until its input ends, and then prints its peak memory in MiB.
func serveAlone() {
	stores, err := skills.New(memory.New())
	if err == nil {
		err = serveStores(stores)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func serveStores(stores *skills.Stores) error {
	handler, err := skillshttp.New(skillshttp.Config{Stores: stores, Access: access{},
		Library: &library{byRequest: map[string]skills.Skill{}},
		Logger:  slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = skillshttp.NewServer("", handler).Serve(listener) }()
	fmt.Println(listener.Addr())
	var peak atomic.Uint64
	go func() {
		for range time.Tick(5 * time.Millisecond) {
			peak.Store(max(peak.Load(), heldMemory()))
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
	fmt.Println(peak.Load() >> 20)
	os.Exit(0)
	return nil
}

// heldMemory returns how much memory of the system the Go runtime holds, in bytes.
func heldMemory() uint64 {
	samples := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}

// alone starts a server in a process of its own. Peak ends the process and returns its peak memory
// in MiB.
func alone(t *testing.T) (w *world, peak func() int) {
	t.Helper()
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), hostileEnv+"=1")
	server.Stderr = os.Stderr
	in, inErr := server.StdinPipe()
	out, outErr := server.StdoutPipe()
	if err := server.Start(); err != nil || inErr != nil || outErr != nil {
		t.Fatal(err, inErr, outErr)
	}
	var addr string
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		t.Fatal(err)
	}
	ended := sync.OnceValue(func() (mib int) {
		in.Close()
		if _, err := fmt.Fscanln(out, &mib); err != nil {
			t.Error(err)
		}
		_ = server.Wait()
		return mib
	})
	t.Cleanup(func() { ended() })
	return &world{T: t, url: "http://" + addr}, ended
}

const mostMemory = 300 // MiB

// wantMemory checks the peak memory of a server.
func (w *world) wantMemory(what string, mib int) {
	w.Helper()
	w.Logf("%s: %d MiB", what, mib)
	if mib > mostMemory {
		w.Errorf("%s took %d MiB, want at most %d", what, mib, mostMemory)
	}
}

// A decoded body of empty objects takes a hundred times its size.
func TestJSONBombsTakeLittleMemory(t *testing.T) {
	w, peak := alone(t)
	bomb := `{"status":"completed","skills":[` + strings.Repeat("{},", 5<<20) + `{}]}`
	live := w.ask("/local-skills", "")
	w.heartbeat(beat)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			w.want("unknown", w.report("/local-skills", backends.NewID(laptop), bomb), 404)
		})
	}
	all.Wait()
	w.want("live", w.report("/local-skills", live, bomb), 413, "JSON values")
	w.want("read", w.read("/local-skills", live), 200, `"status":"failed"`)
	large := `{"status":"completed","output":"` + strings.Repeat("x", 15<<20) + `"}`
	for range 4 {
		id := w.ask("/ping", "")
		all.Go(func() {
			r := w.report("/ping", id, large)
			for r.status == 503 { // a daemon retries as well
				r = w.report("/ping", id, large)
			}
			w.want("large", r, 200)
		})
	}
	all.Wait()
	w.wantMemory("bombs", peak())
}

// The clients ask for a large answer and never read it.
func TestClientsThatNeverReadTheirAnswer(t *testing.T) {
	w, peak := alone(t)
	id := w.ask("/ping", "")
	large := `{"status":"completed","output":"` + strings.Repeat("x", 15<<20) + `"}`
	w.want("report", w.report("/ping", id, large), 200)
	w.want("once", w.read("/ping", id), 200)
	request := "GET " + api + "/ping/" + id + " HTTP/1.1\r\nHost: x\r\n" +
		"Authorization: Bearer owner\r\n\r\n"
	for range 40 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, len("HTTP/1.1 200"))
		if _, err := io.ReadFull(conn, head); err != nil { // the rest of the answer stays unread
			t.Fatal(err)
		}
	}
	w.want("another user", w.send("member", "GET", api+"/ping/"+id, ""), 200)
	w.want("a daemon", w.heartbeat(beat), 200)
	w.wantMemory("40 readers", peak())
}

func TestTextsOfThirtyMegabytes(t *testing.T) {
	w, peak := alone(t)
	long := strings.Repeat("n", 30<<20)
	id := w.claimed(`{"skill_key":"k"}`)
	w.want("a name", w.report(imports, id, bundle(long)), 413)
	w.want("read", w.read(imports, id), 200, `"status":"failed"`, "name has over 255 bytes")
	w.want("a key", w.send("owner", "POST", api+imports, `{"skill_key":"`+long+`"}`), 413)
	w.wantMemory("texts", peak())
}

// The body comes a byte at a time. It holds its connection for seconds, not minutes.
func TestASlowBodyIsCutOff(t *testing.T) {
	w := newWorld(t, func(c *skillshttp.Config) { c.BodyTimeout = time.Second })
	var asked sync.WaitGroup
	defer asked.Wait()
	for _, head := range []string{
		"POST /api/daemon/heartbeat HTTP/1.1\r\nHost: x\r\n",
		"POST " + api + "/update HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer owner\r\n",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		asked.Go(func() {
			defer conn.Close()
			if _, err := io.WriteString(conn, head+"Content-Length: 60000\r\n\r\n"); err != nil {
				t.Error(err)
				return
			}
			defer drip(conn)()
			_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
			answer, err := io.ReadAll(conn)
			if !strings.Contains(string(answer), "did not arrive in time") && !isReset(err) {
				t.Errorf("got %.300q, %v, want that the connection is cut off", answer, err)
			}
		})
	}
}

// drip sends a byte every ten milliseconds, until the connection is closed or stop is called.
func drip(conn net.Conn) (stop func()) {
	stopped := make(chan struct{})
	var dripping sync.WaitGroup
	dripping.Go(func() {
		for range time.Tick(10 * time.Millisecond) {
			if _, err := io.WriteString(conn, " "); err != nil {
				return
			}
			select {
			case <-stopped:
				return
			default:
			}
		}
	})
	return func() {
		close(stopped)
		dripping.Wait()
	}
}

func TestASlowBodyDoesNotKeepAServerFromShuttingDown(t *testing.T) {
	w := newWorld(t, func(c *skillshttp.Config) { c.BodyTimeout = 200 * time.Millisecond })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, serving := skillshttp.NewServer("", w.handler), make(chan struct{}, 1)
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateActive {
			serving <- struct{}{}
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST /api/daemon/heartbeat HTTP/1.1\r\nHost: x\r\n"+
		"Content-Length: 60000\r\n\r\n")
	<-serving
	defer drip(conn)()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Errorf("the server does not shut down: %v", err)
	}
	<-ended
}

// isReset reports whether the server has closed a connection while the client was still sending.
func isReset(err error) bool {
	op, ok := err.(*net.OpError)
	return ok && !op.Timeout()
}

// The Redis server freezes for some time.
func TestHeartbeatsWhileRedisIsFrozen(t *testing.T) {
	server := redistest.Start(t)
	client := server.ClientWith(t, redis.Options{ReadTimeout: 2 * time.Minute})
	b, err := goredis.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldOn(t, b, func(c *skillshttp.Config) {
		c.HeartbeatTime = 500 * time.Millisecond
	})
	t.Cleanup(func() { _ = b.Close() })
	w.heartbeat(beat)
	id := w.ask("/ping", "")
	server.Stop()
	for _, wait := range []string{"", "?wait=50s"} {
		began := time.Now()
		r := w.send("daemon-"+laptop, "POST", heartbeatPath+wait, beat)
		w.want("frozen", r, 200, `{"status":"ok"}`)
		if took := time.Since(began); took > 45*time.Second {
			t.Errorf("a heartbeat took %v", took)
		}
	}
	server.Continue()
	w.eventually("the work arrives", func() bool {
		return strings.Contains(w.heartbeat(beat).body, id)
	})
	log := w.log.String()
	if strings.Contains(log, `"level":"ERROR"`) || !strings.Contains(log, `"level":"WARN"`) {
		t.Errorf("the log:\n%s", log)
	}
}
