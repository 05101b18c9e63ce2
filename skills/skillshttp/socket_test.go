package skillshttp_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// dial opens the WebSocket of a daemon.
func (w *world) dial(as, runtimes string) *websocket.Conn {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, w.url+"/api/daemon/ws?runtime_ids="+runtimes,
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + as}}})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

// frame is a frame of any type.
type frame struct {
	Type    string         `json:"type"`
	Payload map[string]any `json:"payload"`
}

// next reads the next frame.
func (w *world) next(conn *websocket.Conn) (f frame) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	if err := wsjson.Read(ctx, conn, &f); err != nil {
		w.Fatal(err)
	}
	return f
}

// beatOver sends a heartbeat over a WebSocket and returns its answer. Hints may come before it.
func (w *world) beatOver(conn *websocket.Conn, payload map[string]any) map[string]any {
	w.Helper()
	if err := wsjson.Write(w.Context(), conn, frame{"daemon:heartbeat", payload}); err != nil {
		w.Fatal(err)
	}
	for {
		if f := w.next(conn); f.Type == "daemon:heartbeat_ack" {
			return f.Payload
		}
	}
}

func overRedis(t *testing.T) backends.Backend {
	_, client := redistest.Mini(t)
	b, err := goredis.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func TestHeartbeatsAndHintsOverAWebSocket(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) backends.Backend{
		"memory": func(*testing.T) backends.Backend { return memory.New() },
		"redis":  overRedis,
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			w := newWorldOn(t, b)
			elsewhere, err := skills.New(b) // another node
			if err != nil {
				t.Fatal(err)
			}
			conn := w.dial("daemon-"+laptop, laptop)
			ack := w.beatOver(conn, map[string]any{"runtime_id": laptop})
			if ack["status"] != "ok" || ack["runtime_id"] != laptop {
				t.Errorf("got %v", ack)
			}
			r, err := elsewhere.ModelLists.Create(t.Context(), laptop, skills.NewModelList())
			if err != nil {
				t.Fatal(err)
			}
			hint := frame{"daemon:pending_work",
				map[string]any{"kind": "model_list", "runtime_id": laptop}}
			if diff := cmp.Diff(hint, w.next(conn)); diff != "" {
				t.Errorf("the hint (-want +got):\n%s", diff)
			}
			ack = w.beatOver(conn, map[string]any{
				"runtime_id": laptop, "supports_batch_import": true})
			if work, _ := ack["pending_model_list"].(map[string]any); work["id"] != r.ID {
				t.Errorf("the work: %v", ack)
			}
			if len(w.presence.seen) != 2 {
				t.Errorf("the presence has heartbeats of %v, want two", w.presence.seen)
			}
		})
	}
}

func TestRefusalsOfAWebSocket(t *testing.T) {
	w := newWorld(t)
	const path = "/api/daemon/ws?runtime_ids="
	w.want("a stranger", w.send("daemon-"+phone, "GET", path+laptop, ""), 404)
	w.want("one of two", w.send("daemon-"+laptop, "GET", path+laptop+","+phone, ""), 404)
	w.want("none", w.send("daemon-"+laptop, "GET", path, ""), 400)
	w.want("too many", w.send("daemon-"+laptop, "GET", path+strings.Repeat("x,", 200), ""), 400)
	w.want("no WebSocket", w.send("daemon-"+laptop, "GET", path+laptop, ""), 426)
	if strings.Contains(w.log.String(), `"status":101`) {
		t.Errorf("the log says that a WebSocket was opened:\n%s", w.log)
	}
	conn := w.dial("daemon-"+laptop, laptop)
	if ack := w.beatOver(conn, map[string]any{"runtime_id": phone}); ack["status"] != "not_found" {
		t.Errorf("the heartbeat of another runtime: %v", ack)
	}
	if err := conn.Write(t.Context(), websocket.MessageText, []byte("no JSON")); err != nil {
		t.Fatal(err)
	}
	if ack := w.beatOver(conn, map[string]any{"runtime_id": laptop}); ack["status"] != "ok" {
		t.Errorf("after a frame that is not JSON: %v", ack)
	}
	if err := conn.Write(t.Context(), websocket.MessageText, make([]byte, 1<<20)); err == nil {
		_, _, err = conn.Read(t.Context())
		if err == nil {
			t.Error("the server accepted a frame of 1 MiB")
		}
	}
}

// The client then repeats the heartbeat with the same claim id.
func TestAClaimThatFailedIsSaidSoOverAWebSocket(t *testing.T) {
	w := newWorldOn(t, broken{memory.New()})
	conn := w.dial("daemon-"+laptop, laptop)
	ack := w.beatOver(conn, map[string]any{"runtime_id": laptop, "claim_id": "1"})
	if ack["status"] != "ok" || ack["claim_failed"] != true {
		t.Errorf("got %v, want status ok and claim_failed", ack)
	}
	w.want("over HTTP", w.heartbeat(beat), 200, `{"status":"ok"}`)
}

func TestADeletedRuntimeIsToldSoOverAWebSocket(t *testing.T) {
	w := newWorld(t)
	conn := w.dial("daemon-"+gone, gone)
	ack := w.beatOver(conn, map[string]any{"runtime_id": gone})
	if ack["status"] != "runtime_gone" || ack["runtime_gone"] != true || ack["runtime_id"] != gone {
		t.Errorf("got %v", ack)
	}
}

func TestDrainingClosesWebSockets(t *testing.T) {
	w := newWorld(t, func(c *skillshttp.Config) { c.MaxRuntimeWaits = 1 })
	conn := w.dial("daemon-"+laptop, laptop)
	const path = "/api/daemon/ws?runtime_ids=" + laptop
	w.want("a second", w.send("daemon-"+laptop, "GET", path, ""), 429)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.handler.Wait(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait returned %v although a WebSocket is open", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- w.handler.Wait(t.Context()) }()
	w.handler.Drain()
	_, _, err := conn.Read(t.Context())
	if websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("got %v, want that the server goes away", err)
	}
	if err := <-waited; err != nil || w.handler.Parked() != 0 {
		t.Errorf("Wait returned %v, and %d WebSockets are open", err, w.handler.Parked())
	}
}
