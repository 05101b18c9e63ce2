package remote_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
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
		test(t, clientWith(t, "http://node", &remote.Options{Logger: quiet, MaxAnswer: 1 << 20,
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

// opened counts the watches of a server that confirms each one and then sends text.
func opened(t *testing.T, text string, limit time.Duration, ended bool) (n int32) {
	var watches atomic.Int32
	onFakeTime(t, func(r *http.Request) (*http.Response, error) {
		if watches.Add(1) > 1000 {
			return nil, errCut
		}
		resp := watching(r, text)
		if ended {
			resp.Body = io.NopCloser(strings.NewReader(text))
		}
		return resp, nil
	}, func(t *testing.T, waiting *remote.Client) {
		_, stop := waiting.WatchMailbox(t.Context(), box)
		defer stop()
		calls.Pass(limit)
		n = watches.Load()
	})
	return n
}

// A reason may have 16 KiB, and JSON may need 6 bytes for a byte.
func TestAWatchReadsTheLongestEvent(t *testing.T) {
	event := `{"request":"x","cancel_reason":"` + strings.Repeat(`\u0001`, 16<<10) + "\"}\n"
	if n := opened(t, event, 30*time.Second, false); n != 1 {
		t.Errorf("got %d watches, want one that outlives the event", n)
	}
}

func TestAWatchThatEndsAtOnceIsNotReopenedAtOnce(t *testing.T) {
	n := opened(t, `{"watching":true}`+"\n", time.Minute, true)
	if n < 20 || n > 100 {
		t.Errorf("got %d watches in a minute, want one every second or two", n)
	}
}

// A proxy may say so while it is in maintenance, and come back earlier.
func TestAWatchIsOpenedAgainLongBeforeARetryAfterOfADay(t *testing.T) {
	for _, seconds := range []string{"86400", "99999999999"} {
		var watches atomic.Int32
		onFakeTime(t, func(r *http.Request) (*http.Response, error) {
			if watches.Add(1) == 1 {
				return &http.Response{StatusCode: http.StatusServiceUnavailable,
					Header: http.Header{"Retry-After": {seconds}}, Body: http.NoBody}, nil
			}
			return watching(r, ""), nil
		}, func(t *testing.T, waiting *remote.Client) {
			signal, stop := waiting.WatchMailbox(t.Context(), box)
			defer stop()
			if !within(2*time.Minute, signal) {
				t.Errorf("Retry-After: %s: got %d watches in two minutes", seconds, watches.Load())
			}
		})
	}
}

// Each waiter looks when its watch is renewed. If all looked at once, the server would refuse some.
func TestARenewedWatchWakesItsWaitersOneAfterAnother(t *testing.T) {
	onFakeTime(t, func(r *http.Request) (*http.Response, error) {
		return watching(r, ""), nil
	}, func(t *testing.T, waiting *remote.Client) {
		const n = 100
		woken := make(chan time.Time, n)
		for i := range n {
			signal, stop := waiting.WatchRequest(t.Context(), strconv.Itoa(i/2))
			defer stop()
			go func() {
				for within(20*time.Second, signal) { // until the watches of all are open
				}
				<-signal
				woken <- time.Now()
			}()
		}
		at := map[time.Time]int{}
		for range n {
			at[<-woken]++
		}
		if len(at) < n/10 {
			t.Errorf("%d waiters were woken at %d times", n, len(at))
		}
	})
}
