package dashboard

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/pendingq/pendingq/pending"
)

// Config configures a dashboard. Only Stores is required.
type Config struct {
	Stores []Store // in the order of the overview, 1 to 100, each name once

	// Access decides who may do what. Nil: everybody may [View], and nobody may do anything else.
	Access Access

	// Logger gets a line for each action and for each page that failed. A live page logs failures
	// in a row once. Default: slog.Default().
	Logger *slog.Logger

	// CrossOrigin refuses actions that another site makes a browser send. Default: a new
	// CrossOriginProtection, which trusts no other origin.
	CrossOrigin *http.CrossOriginProtection

	// CursorKey encrypts the links to further pages of the overview: 16, 24 or 32 secret bytes, the
	// same on all nodes. Default: a random key of this process. Then such a link works only at the
	// node that made it. Other nodes answer with the first page.
	CursorKey []byte

	Timeout    time.Duration // how long a page may wait for the backend. Default: 3 s
	Refresh    time.Duration // between two reads of a live page. Default: 2 s, at least 100 ms
	MaxStreams int           // how many pages can be live at a time. Default: 64
}

// Store is a store that the dashboard shows.
type Store struct {
	Policy pending.Policy // the same as on the nodes

	// Payload returns the value that the page of a request shows as its payload, in JSON. See
	// [Show]. Nil: the page shows only the size of the payload.
	Payload func(ctx context.Context, id string) (any, error)
}

// Show makes a [Store.Payload] that reads the payload through its store. Redact returns the part of
// the payload that people may see. Nil: people may see all of it.
func Show[T any](
	s *pending.PendingStore[T], redact func(T) any) func(context.Context, string) (any, error) {
	return func(ctx context.Context, id string) (any, error) {
		r, err := s.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		if redact == nil {
			return r.Payload, nil
		}
		return redact(r.Payload), nil
	}
}

// Action is something that a person wants to do.
type Action string

// The actions that [Access] decides on.
const (
	View        Action = "view"    // see a page, a store or a mailbox, with requests and errors
	ReadPayload Action = "payload" // see the payloads and headers of requests
	Cancel      Action = "cancel"  // cancel a request
)

// Access decides whether the sender of r may do an action, and returns the sender's name for the
// log. Store "" asks: may the sender see any page? Mailbox "" asks: may the sender see this store?
// Both come with [View] only. A page calls Access many times, so it must be fast.
//
// A live page asks again before each update, for up to 10 min. Then r is the request that opened
// the stream. To notice a logout, check the session itself, not only the context of r.
type Access func(r *http.Request, action Action, store, mailbox string) (who string, allowed bool)

func viewOnly(_ *http.Request, action Action, _, _ string) (string, bool) {
	return "anyone", action == View
}

const maxStores = 100

// withDefaults fills in defaults. It returns an error for an invalid field.
func (c Config) withDefaults() (Config, error) {
	if len(c.Stores) == 0 || len(c.Stores) > maxStores {
		return c, fmt.Errorf("dashboard: %d stores, want 1 to %d", len(c.Stores), maxStores)
	}
	if c.Timeout < 0 || c.Refresh < 0 || c.MaxStreams < 0 {
		return c, errors.New("dashboard: Timeout, Refresh and MaxStreams must not be negative")
	}
	if c.Access == nil {
		c.Access = viewOnly
	}
	c.Logger = cmp.Or(c.Logger, slog.Default())
	c.CrossOrigin = cmp.Or(c.CrossOrigin, http.NewCrossOriginProtection())
	if c.CursorKey == nil {
		c.CursorKey = make([]byte, 32)
		rand.Read(c.CursorKey) // never fails
	}
	c.Timeout = cmp.Or(c.Timeout, 3*time.Second)
	c.MaxStreams = cmp.Or(c.MaxStreams, 64)
	c.Refresh = max(cmp.Or(c.Refresh, 2*time.Second), 100*time.Millisecond)
	return c, nil
}

const maxPayload = 64 << 10 // bytes of a payload that a page shows

// payloadText returns a payload as indented JSON, cut after maxPayload bytes.
func payloadText(payload any) (string, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false) // the page does
	err := encoder.Encode(payload)
	if text.Len() > maxPayload {
		text.Truncate(maxPayload)
		text.WriteString("\n… (cut)")
	}
	return strings.TrimSuffix(text.String(), "\n"), err
}
