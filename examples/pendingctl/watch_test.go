package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
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
