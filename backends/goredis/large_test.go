package goredis_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

// behind is a hook that answers every plain GET as a replica may that has not got the end of a request.
type behind struct {
	reads int
	value string
	err   error
}

func (h *behind) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h *behind) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		get, plain := cmd.(*redis.StringCmd)
		if !plain || cmd.Name() != "get" {
			return next(ctx, cmd)
		}
		h.reads++
		get.SetVal(h.value)
		get.SetErr(h.err)
		return h.err
	}
}

func (h *behind) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestLargeAnswersAreReadThoughTheReplicaIsBehind(t *testing.T) {
	server := redistest.Start(t)
	r := newRig(t, server.Client(t))
	r.large = true
	terms := lasting("s")
	made := r.create(terms, box)
	running := r.claim(terms, box, 1)[0]
	asItWas := ""
	for key := range r.dump() {
		if value, err := server.Client(t).Get(t.Context(), key).Result(); err == nil && len(value) > len("1r") && value[:2] == "1r" {
			asItWas = value
		}
	}
	if asItWas == "" {
		t.Fatal("the running record was not found")
	}
	r.end(terms, running)
	for name, replica := range map[string]*behind{"nothing there": {err: redis.Nil}, "still running": {value: asItWas},
		"away": {err: net.ErrClosed}, "empty": {}} {
		t.Run(name, func(t *testing.T) {
			client := server.Client(t)
			client.AddHook(replica)
			reader := &rig{T: t, b: newBackend(t, client, &goredis.Options{Prefix: r.prefix})}
			got := reader.get("s", made.ID)
			if want := r.report(terms, made.ID, box, 1).Payload; got.Status != backends.StatusCompleted || !bytes.Equal(got.Payload, want) {
				t.Errorf("got %s with %d bytes, want it completed with %d", got.Status, len(got.Payload), len(want))
			}
			if replica.reads != 1 {
				t.Errorf("the replica was asked %d times, want once", replica.reads)
			}
		})
	}
}

func TestLargeAnswersThatAreRefusedLeaveNothing(t *testing.T) {
	r := newRig(t, redistest.Start(t).Client(t))
	r.large = true
	terms := lasting("s")
	r.create(terms, "running")
	running := r.claim(terms, "running", 1)[0]
	r.create(terms, "ended")
	ended := r.claim(terms, "ended", 1)[0]
	r.end(terms, ended)
	before := r.dump()
	for name, e := range map[string]backends.End{
		"at another attempt": r.report(terms, running.ID, running.Mailbox, 2),
		"once more":          r.report(terms, ended.ID, ended.Mailbox, 1),
		"of nothing":         r.report(terms, backends.NewID(box), box, 1),
	} {
		if _, err := r.b.End(t.Context(), e); !decided(err) {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
		if !maps.Equal(r.dump(), before) {
			t.Errorf("%s: it has left a trace", name)
		}
	}
}

// A caller may believe in another mailbox, whose partition is the same, but not its length.
func TestLargeAnswersFindRoomForTheirHead(t *testing.T) {
	r := newRig(t, redistest.Start(t).Client(t))
	r.large = true
	terms := lasting("s")
	other := box
	for i := 0; other == box; i++ {
		if name := fmt.Sprint(i); backends.Partition(name) == backends.Partition(box) {
			other = name
		}
	}
	made := r.create(terms, box)
	r.claim(terms, box, 1)
	e := r.report(terms, made.ID, other, 1)
	if _, err := r.b.End(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if got := r.get("s", made.ID); got.Mailbox != box || !bytes.Equal(got.Payload, e.Payload) {
		t.Errorf("got %q with %d bytes, want %q with %d", got.Mailbox, len(got.Payload), box, len(e.Payload))
	}
}
