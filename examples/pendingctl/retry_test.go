package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/pendingq/pendingq/internal/calls"
)

const (
	runningRecord   = `{"id":"r","status":"running"}`
	completedRecord = `{"id":"r","status":"completed","target_version":"2","output":"done"}`
)

// server answers requests without a network, so that time can be fake. Status 0 is a node that
// died: it never answers.
type server func(r *http.Request) (status int, body string)

// RoundTrip implements [http.RoundTripper].
func (s server) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := s(r)
	if status == 0 {
		<-r.Context().Done()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Request: r,
		Body: io.NopCloser(strings.NewReader(body))}, nil
}

func (s server) session(o options, words ...string) (*session, *strings.Builder) {
	out := &strings.Builder{}
	board := newBoard(io.Discard, false)
	c := common{options: o, surroundings: surroundings{stdout: out, stderr: io.Discard},
		words: words, board: board}
	return &session{&client{base: "http://node", note: board.note,
		http: &http.Client{Transport: s}}, c}, out
}

func TestAReadIsRepeatedAfterItsNodeDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		s, _ := server(func(*http.Request) (int, string) {
			if reads++; reads == 1 {
				return 0, ""
			}
			return http.StatusOK, completedRecord
		}).session(options{})
		if _, err := s.read(t.Context(), "/ping/r", longWait); err != nil || reads != 2 {
			t.Errorf("%d reads, %v, want two reads and the record", reads, err)
		}
	})
}

func TestABusyServerIsNotAskedAgainAtOnce(t *testing.T) {
	for header, want := range map[string]time.Duration{"": time.Second, "0": time.Second,
		"-1": time.Second, "soon": time.Second, "7": 7 * time.Second, "9223372036": time.Hour} {
		err := newStatusError(&http.Response{StatusCode: http.StatusTooManyRequests,
			Header: http.Header{"Retry-After": {header}}}, nil)
		var pause *backoff.RetryAfterError
		if !errors.As(err, &pause) || pause.Duration != want {
			t.Errorf("Retry-After %q: %v, want a pause of %v", header, pause, want)
		}
	}
}

// A node may fail late in a long read. That takes no time away from the retries.
func TestRetriesLastUntilTheTroubleIsTooLong(t *testing.T) {
	for _, c := range []struct {
		trouble time.Duration
		ok      bool
	}{{troubleTime - 5*time.Second, true}, {time.Hour, false}} {
		synctest.Test(t, func(t *testing.T) {
			began, first := time.Now(), true
			s, _ := server(func(*http.Request) (int, string) {
				if first {
					calls.Pass(longWait)
				}
				first = false
				if time.Since(began) < longWait+c.trouble {
					return http.StatusBadGateway, ""
				}
				return http.StatusOK, completedRecord
			}).session(options{})
			_, err := s.read(t.Context(), "/ping/r", longWait)
			took := time.Since(began) - longWait
			if (err == nil) != c.ok || took > attemptTime+troubleTime {
				t.Errorf("trouble of %v: %v after %v", c.trouble, err, took)
			}
		})
	}
}

func TestAnUpdateMayTakeLong(t *testing.T) {
	for _, patient := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			s, out := server(func(r *http.Request) (int, string) {
				if wait, err := time.ParseDuration(r.URL.Query().Get("wait")); err == nil {
					calls.Pass(wait)
				}
				if time.Since(began) < 2*defaultTimeout {
					return http.StatusOK, runningRecord
				}
				return http.StatusOK, completedRecord
			}).session(options{timeout: defaultTimeout}, "2")
			s.patient = patient
			err := update(context.Background(), s)
			if patient && !errors.Is(err, errPatience) {
				t.Errorf("update with --timeout = %v, want that the time is over", err)
			}
			if !patient && (err != nil || out.String() != "updated to 2: done\n") {
				t.Errorf("update = %v, and it says %q", err, out)
			}
		})
	}
}
