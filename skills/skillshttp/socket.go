package skillshttp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/skills/wire"
)

const (
	maxRuntimes = 100 // of one WebSocket
	maxFrame    = 16 << 10
	frameTime   = 10 * time.Second // for a client to read a frame, or to answer a ping
	pingEvery   = 30 * time.Second
)

// socket is one WebSocket of a daemon that hosts some runtimes.
type socket struct {
	*call
	conn *websocket.Conn
	ctx  context.Context // ends with the connection
	gone map[string]bool // runtimes that were deleted before the WebSocket was opened
}

// socket serves a WebSocket until either side closes it.
func (h *Handler) socket(c *call) (any, error) {
	ids := strings.Split(c.r.URL.Query().Get("runtime_ids"), ",")
	if len(ids) > maxRuntimes {
		return nil, invalid("runtime_ids names over %d runtimes", maxRuntimes)
	}
	s := &socket{call: c, gone: map[string]bool{}}
	for i, id := range ids {
		ids[i] = strings.TrimSpace(id)
		if err := s.admit(ids[i]); err != nil {
			return nil, err
		}
	}
	for _, id := range ids {
		if !c.hold(&c.beats, 1, 0, c.ofDaemon(id)...) {
			return nil, refuse(http.StatusTooManyRequests, wire.CodeTooManyWaits,
				"too many WebSockets are open")
		}
	}
	var err error
	if s.conn, err = websocket.Accept(c.w, c.r, nil); err != nil {
		return hijacked, err // Accept has answered
	}
	defer s.conn.CloseNow()
	s.conn.SetReadLimit(maxFrame)
	s.run(ids)
	return hijacked, nil
}

// admit returns an error unless the caller is the daemon of a runtime. The runtime may have been
// deleted.
func (s *socket) admit(runtimeID string) error {
	err := s.authoriseDaemon(runtimeID)
	if s.gone[runtimeID] = isGone(err); s.gone[runtimeID] {
		return nil
	}
	if runtimeID == "" && !errors.Is(err, ErrUnauthenticated) {
		return invalid("runtime_ids is required")
	}
	return err
}

func isGone(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.code == wire.CodeRuntimeGone
}

// run answers heartbeats and sends hints and pings, until the connection ends or the server drains.
func (s *socket) run(ids []string) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.r.Context()))
	s.ctx = ctx
	stop := context.AfterFunc(s.draining, func() {
		_ = s.conn.Close(websocket.StatusGoingAway, "the server shuts down")
		cancel()
	})
	defer stop()
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	tasks.Go(s.ping)
	for _, id := range ids {
		if !s.gone[id] {
			tasks.Go(func() { s.hint(id) })
		}
	}
	for s.answerFrame() == nil {
	}
}

// answerFrame reads a frame and answers it. Frames of an unknown type are ignored.
func (s *socket) answerFrame() error {
	_, text, err := s.conn.Read(s.ctx)
	if err != nil {
		return err
	}
	var frame wire.Frame[json.RawMessage]
	var beat wire.Heartbeat
	if json.Unmarshal(text, &frame) != nil || frame.Type != wire.TypeHeartbeat ||
		json.Unmarshal(frame.Payload, &beat) != nil {
		return nil
	}
	ack, err := s.acknowledge(beat)
	if err != nil {
		return s.conn.Close(websocket.StatusPolicyViolation, asRefusal(err).text)
	}
	return send(s, wire.TypeHeartbeatAck, ack)
}

// acknowledge answers a heartbeat. The caller's rights may have changed since the last one.
func (s *socket) acknowledge(beat wire.Heartbeat) (ack wire.HeartbeatAck, err error) {
	ack.RuntimeID = beat.RuntimeID
	switch err := s.authoriseDaemon(beat.RuntimeID); {
	case isGone(err):
		ack.Status, ack.RuntimeGone = wire.StatusRuntimeGone, true
		return ack, nil
	case errors.Is(err, errNotFound) || err == nil && len(beat.ClaimID) > maxClaimID:
		ack.Status = wire.StatusNotFound
		return ack, nil
	case err != nil:
		return ack, err
	}
	answer, failed := s.beat(s.ctx, beat, false)
	ack.Assignments, ack.ClaimFailed = *answer, failed
	return ack, nil
}

// send sends a frame. A client that does not read it in time is cut off.
func send[P any](s *socket, kind string, payload P) error {
	ctx, cancel := context.WithTimeout(s.ctx, frameTime)
	defer cancel()
	return wsjson.Write(ctx, s.conn, wire.Frame[P]{Type: kind, Payload: payload})
}

// ping sends pings. It ends the connection if the client does not answer one in time.
func (s *socket) ping() {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(s.ctx, frameTime)
		err := s.conn.Ping(ctx)
		cancel()
		if err != nil {
			_ = s.conn.CloseNow()
			return
		}
	}
}

// hint tells the daemon that a request is pending for a runtime, whichever node has created it.
func (s *socket) hint(runtimeID string) {
	stores := s.config.Stores
	kinds := map[string]func(context.Context, string) (bool, error){
		wire.KindList:      stores.Lists.HasPending,
		wire.KindImport:    stores.Imports.HasPending,
		wire.KindUpdate:    stores.Updates.HasPending,
		wire.KindModelList: stores.ModelLists.HasPending,
	}
	w := s.watch(s.ctx, runtimeID, backends.Waker.WatchMailbox)
	defer w.Stop()
	for first := true; first || w.Wait(s.ctx, 0) == nil; first = false {
		for kind, hasPending := range kinds {
			pending, err := within(s.ctx, s.config.HeartbeatTime,
				func(ctx context.Context) (bool, error) { return hasPending(ctx, runtimeID) })
			s.warn(err, "look for work to hint at", runtimeID)
			hint := wire.PendingWork{RuntimeID: runtimeID, Kind: kind}
			if pending && send(s, wire.TypePendingWork, hint) != nil {
				return
			}
		}
	}
}
