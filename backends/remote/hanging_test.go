package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
)

// hanging is a backend whose Get blocks until its context ends.
type hanging struct{ backends.Backend }

func (hanging) Get(ctx context.Context, _, _ string) (backends.Record, error) {
	<-ctx.Done()
	return backends.Record{}, ctx.Err()
}

func TestABackendThatHangsIsGivenUp(t *testing.T) {
	r := newRig(t, hanging{memory.New()}, func(c *remote.Config) {
		c.CallTimeout = 20 * time.Millisecond
	})
	got := r.send("GET", "/requests/"+backends.NewID(box)+"?store=s", "t", "")
	if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" ||
		!strings.Contains(got.body, "did not answer in time") {
		t.Errorf("got %+v", got)
	}
}

func TestADeadlineTellsTheLastFailure(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		cause  string
	}{
		"a backend that hangs": {http.StatusServiceUnavailable,
			`{"error":"it did not answer in time","code":"unavailable"}`, "did not answer in time"},
		"a proxy": {http.StatusBadGateway, "<html>bad gateway</html>", "502"},
	} {
		onFakeTime(t, func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: c.status, Status: fmt.Sprint(c.status), Request: r,
				Header: http.Header{}, Body: io.NopCloser(strings.NewReader(c.body))}, nil
		}, func(t *testing.T, client *remote.Client) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := client.Get(ctx, "s", backends.NewID(box))
			if !errors.Is(err, context.DeadlineExceeded) ||
				!strings.Contains(err.Error(), c.cause) {
				t.Errorf("%s: got %v, want the deadline and %q", name, err, c.cause)
			}
		})
	}
}

// H9: a network that drops all packets. Nobody accepts the connections of this listener.
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
	if call := "POST /requests"; !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), call) {
		t.Errorf("got %v, want DeadlineExceeded and the HTTP request, %q", err, call)
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
	// The first request may not have reached the server. The second one does.
	ctx, hangUp = context.WithCancel(t.Context())
	defer hangUp()
	waiting := newRig(t, stopping{memory.New(), hangUp}, func(c *remote.Config) {
		c.Logger = slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	_, _ = waiting.client.Get(ctx, "s", backends.NewID(box))
	for line := range logs {
		if strings.Contains(line, "hung up") {
			if !strings.Contains(line, "level=DEBUG") {
				t.Errorf("the log has %s; want level DEBUG", line)
			}
			return
		}
	}
}

// stopping is a backend whose Get makes the client hang up and then blocks until its context ends.
type stopping struct {
	backends.Backend
	hangUp func()
}

func (s stopping) Get(ctx context.Context, _, _ string) (backends.Record, error) {
	s.hangUp()
	<-ctx.Done()
	return backends.Record{}, ctx.Err()
}

func TestAServerThatNeverAnswersIsNoCancellation(t *testing.T) {
	onFakeTime(t, func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}, func(t *testing.T, c *remote.Client) {
		_, err := c.Get(t.Context(), "s", backends.NewID(box))
		if err == nil || errors.Is(err, context.Canceled) ||
			!strings.Contains(err.Error(), "did not answer in time") {
			t.Errorf("got %v, want an error that says that the server did not answer", err)
		}
	})
}
