package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/pendingq/pendingq/internal/poll"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills/wire"
)

// client sends requests to an API node.
type client struct {
	base  string // the URL of the runtime's routes
	token string
	http  *http.Client
	note  func(format string, args ...any) // shows people an error before a retry
}

func newClient(o options, note func(string, ...any)) (*client, error) {
	u, err := url.Parse(o.server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, misused("--server is not the URL of a server, such as http://127.0.0.1:8080")
	}
	base := strings.TrimSuffix(u.String(), "/") + "/api/runtimes/" + wire.PathSegment(o.runtime)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	return &client{base: base, token: o.token, note: note,
		http: poll.Client(&http.Client{Transport: transport})}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// record is a request in the server's JSON.
type record struct {
	ID        string         `json:"id"`
	Status    pending.Status `json:"status"`
	Error     string         `json:"error"`
	UpdatedAt time.Time      `json:"updated_at"`

	raw json.RawMessage // the whole JSON
}

// statusError is an answer with an error status.
type statusError struct {
	status     int
	code       string // a code of package wire; "" for an answer of a proxy
	text       string
	id         string        // of the live update that prevents this one; "" otherwise
	retryAfter time.Duration // for 429; at least a second
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("the server answers %d %s", e.status, http.StatusText(e.status))
	if e.text != "" {
		text += ": " + e.text
	}
	if e.id != "" {
		text += " (request " + e.id + ")"
	}
	return text
}

// Unwrap tells package backoff how long to wait.
func (e *statusError) Unwrap() error {
	if e.status != http.StatusTooManyRequests {
		return nil
	}
	return &backoff.RetryAfterError{Duration: e.retryAfter}
}

// refused reports whether the server refused the request. Otherwise the server failed. A 503 is a
// refusal only if the runtime is offline. A load balancer without a node answers 503, too.
func (e *statusError) refused() bool { return e.status < 500 || e.code == wire.CodeOffline }

const (
	maxAnswer   = 128 << 20 // bytes
	attemptTime = 15 * time.Second
)

// send sends a request once. Wait is how long the server may hold it before it answers.
func (c *client) send(ctx context.Context, method, path string, body []byte,
	wait time.Duration) (*record, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+attemptTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, newStatusError(response, text)
	}
	r := &record{raw: text}
	if err := json.Unmarshal(text, r); err != nil || r.ID == "" {
		return nil, errors.New("the server's answer is not the JSON of a request; " +
			"is it an API node?")
	}
	return r, nil
}

func newStatusError(response *http.Response, text []byte) error {
	var body wire.Refusal
	_ = json.Unmarshal(text, &body) // a proxy may answer in another format
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	if err != nil || seconds < 1 { // without a pause, retries would be a loop
		seconds = 1
	}
	return &statusError{status: response.StatusCode, code: body.Code, text: body.Error, id: body.ID,
		retryAfter: time.Duration(min(seconds, 3600)) * time.Second}
}

// unsent reports whether a request cannot have reached the server.
func unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
