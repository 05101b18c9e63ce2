package remote_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/internal/calls"
)

// script is the server of a test on fake time. It answers without a network.
type script func(*http.Request) (*http.Response, error)

func (s script) RoundTrip(r *http.Request) (*http.Response, error) { return s(r) }

// onFakeTime runs a test in a synctest bubble, with a client of a server.
func onFakeTime(t *testing.T, server script, test func(*testing.T, *remote.Client)) {
	synctest.Test(t, func(t *testing.T) {
		test(t, clientWith(t, "http://node", &remote.Options{Logger: quiet,
			HTTP: &http.Client{Transport: server}}))
	})
}

// watching returns an answer to a watch. It begins with text, and ends when the client hangs up.
func watching(r *http.Request, text string) *http.Response {
	body, events := io.Pipe()
	context.AfterFunc(r.Context(), func() { events.CloseWithError(r.Context().Err()) })
	go io.WriteString(events, text)
	return &http.Response{StatusCode: http.StatusOK, Body: body}
}

// within reports whether a signal comes in time.
func within(limit time.Duration, signal <-chan struct{}) bool {
	select {
	case <-signal:
		return true
	case <-time.After(limit):
		return false
	}
}

func TestAWaiterWhoseWatchBeginsLateIsWoken(t *testing.T) {
	onFakeTime(t, func(r *http.Request) (*http.Response, error) {
		calls.Pass(3 * time.Second)
		return watching(r, ""), nil
	}, func(t *testing.T, waiting *remote.Client) {
		signal, stop := waiting.WatchMailbox(t.Context(), box) // gives up waiting after a second
		defer stop()
		if !within(5*time.Second, signal) {
			t.Error("a waiter that looked before its watch began got no signal")
		}
	})
}
