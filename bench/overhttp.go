package bench

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
)

// HTTPSides are what a backend over HTTP and the same backend called directly are compared at.
var HTTPSides = []string{"lifecycle, direct", "lifecycle, over HTTP",
	"idle heartbeat, direct", "idle heartbeat, over HTTP"}

// OverHTTP compares the memory backend over HTTP on loopback with the memory backend itself, with
// one caller.
func (s *Suite) OverHTTP(ctx context.Context) (Runs, error) {
	var lifecycles, beats []Do
	direct := memory.New()
	client, stop, err := ServeHTTP(direct)
	if err != nil {
		return nil, err
	}
	defer stop()
	for _, b := range []backends.Backend{direct, client} {
		stack, err := NewLibrary(b)
		beat, beatErr := LibraryBeats(b)
		if err := errors.Join(err, beatErr); err != nil {
			return nil, err
		}
		lifecycles, beats = append(lifecycles, stack.Lifecycle), append(beats, beat.Idle)
	}
	var sides []Side
	for i, do := range append(lifecycles, beats...) {
		sides = append(sides, Side{HTTPSides[i], do})
	}
	return s.compare(ctx, "over HTTP", sides, 1, s.Each/4, nil)
}

// HTTPPickup measures how soon a waiter is woken over HTTP on loopback.
func (s *Suite) HTTPPickup(ctx context.Context, n int) (Ratio, error) {
	client, stop, err := ServeHTTP(memory.New())
	if err != nil {
		return Ratio{}, err
	}
	defer stop()
	l, err := Pickup(ctx, client, n)
	return Ratio{Name: "pick-up latency p99 over HTTP on loopback, idle",
		Got: micros(l.PickupP99) / 1000, Target: 10, AtMost: true, Unit: " ms"}, err
}

// ServeHTTP serves the stores of lifecycles and heartbeats of a backend over HTTP on loopback. It
// returns a client.
func ServeHTTP(b backends.Backend) (client *remote.Client, stop func(), err error) {
	stores, err := skills.New(b)
	if err != nil {
		return nil, nil, err
	}
	p, quiet := stores.Policies(), slog.New(slog.DiscardHandler)
	handler, err := remote.Handler(b, remote.Config{Access: everyone{}, Logger: quiet,
		Stores: []pending.Policy{
			Policy(), p.Lists, p.Imports, p.Pings, p.Updates, p.ModelLists}})
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	server := &http.Server{Handler: handler}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	client, err = remote.New("http://"+listener.Addr().String(), &remote.Options{Logger: quiet})
	return client, func() {
		client.Close()
		_ = server.Close()
		<-served //nolint:errcheck // it says that the server was closed
	}, err
}

// everyone may do everything.
type everyone struct{}

func (everyone) Caller(*http.Request) (string, error) { return "everyone", nil }

func (everyone) Allow(*http.Request, string, remote.Action, string, string) (bool, error) {
	return true, nil
}
