package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/pending"
)

func TestAWatchThatRunsOutOfTimeReportsNoRetry(t *testing.T) {
	s := newShelf(t, 0)
	r := s.call("watch", s.create("box", "?").ID, "--timeout", "50ms")
	s.want(r, exitFailed, "no answer in time")
	if strings.Contains(r.stderr, "trying again") {
		t.Errorf("the program is about to exit, and says:\n%s", r.stderr)
	}
}

func TestAnErrorThatHasPassedDoesNotExplainATimeout(t *testing.T) {
	s := newShelf(t, 0)
	target, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	var failed atomic.Bool
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && !failed.Swap(true) {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer front.Close()
	s.url = front.URL
	r := s.call("watch", s.create("box", "?").ID, "--timeout", "2s")
	s.want(r, exitFailed, "trying again", "pending    attempt 0", "no answer in time")
}

// spoilt is a backend with damaged records only.
type spoilt struct{ *memory.Backend }

func (spoilt) Get(_ context.Context, _, id string) (backends.Record, error) {
	return backends.Record{}, &backends.CorruptError{ID: id, Err: errors.New(`version "g"`)}
}

func TestADamagedRecordDoesNotBlameTheOptions(t *testing.T) {
	handler, err := remote.Handler(spoilt{memory.New()}, remote.Config{
		Stores: []pending.Policy{jobs(0)}, Access: storeAccess{},
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.StripPrefix("/pending", handler))
	defer server.Close()
	defer handler.Drain()
	s := &shelf{T: t, url: server.URL}
	for _, command := range []string{"show", "watch"} {
		r := s.call(command, backends.NewID("box"))
		s.want(r, exitTrouble, "cannot be read", "a server of another version")
		if strings.Contains(r.stderr, "--server") {
			t.Errorf("%s: the options are right:\n%s", command, r.stderr)
		}
	}
}
