package main

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// newProxy makes a handler that sends each request to the next server.
func newProxy(servers []*url.URL, logger *slog.Logger) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetXForwarded() },
		Transport: &roundRobin{servers: servers, logger: logger, next: newTransport()},
		ErrorLog:  slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			logger.Warn("no answer", "method", r.Method, "path", r.URL.Path, "error", err)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, `{"error":"no server has answered"}`)
		},
	}
}

// newTransport returns a transport that makes a new connection for each request. Over an old
// connection to a killed server, nobody could tell whether a request has reached the server.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 2 * time.Second}
	return &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}
}

// roundRobin sends each request to the next server, even requests on the same client connection.
type roundRobin struct {
	servers []*url.URL
	logger  *slog.Logger
	next    http.RoundTripper
	turn    atomic.Uint64
}

// RoundTrip implements [http.RoundTripper].
func (rr *roundRobin) RoundTrip(r *http.Request) (*http.Response, error) {
	first := rr.turn.Add(1)
	rr.logger.Info("sending", "method", r.Method, "path", r.URL.Path)
	var problems error
	for i := range rr.servers {
		server := rr.servers[(first+uint64(i))%uint64(len(rr.servers))]
		response, err := rr.next.RoundTrip(to(server, r))
		if err == nil {
			response.Header.Set("X-Served-By", server.Host)
			rr.logger.Info("sent", "server", server.Host, "method", r.Method,
				"path", r.URL.Path, "status", response.StatusCode)
			return response, nil
		}
		problems = errors.Join(problems, err)
		if !unsent(err) {
			break
		}
		rr.logger.Info("refused", "server", server.Host, "method", r.Method, "path", r.URL.Path)
	}
	return nil, problems
}

// to returns a request for one of the servers. The body stays open, because the next server gets it
// if this server is down.
func to(server *url.URL, r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = server.Scheme, server.Host
	if r.Body != nil {
		r.Body = io.NopCloser(r.Body)
	}
	return r
}

// unsent reports whether the request was not sent, because there was no connection.
func unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
