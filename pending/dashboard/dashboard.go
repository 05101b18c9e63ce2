package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/unsent"
	"github.com/pendingq/pendingq/pending"
)

// Dashboard serves the pages. Make one with [New].
type Dashboard struct {
	backend  backends.Backend
	lister   backends.Lister
	observed *Observed // nil: the page shows no figures of this node
	config   Config
	cursors  *cursors
	stores   map[string]*store
	names    []string // of the stores, in order
	streams  atomic.Int64
	draining context.Context
	drain    context.CancelFunc
}

// store is a configured store. It decodes no payloads.
type store struct {
	Store
	cancel *pending.PendingStore[struct{}]
}

// New makes a dashboard over a backend. It returns an error if the Config is invalid, and
// [errors.ErrUnsupported] if the backend is not a [backends.Lister]. If the stores of this node use
// a backend of [Observe], pass the same backend to New: then the overview shows this node's counts.
func New(b backends.Backend, c Config) (*Dashboard, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	cursors, err := newCursors(c.CursorKey)
	if err != nil {
		return nil, fmt.Errorf("dashboard: CursorKey: %w", err)
	}
	lister, ok := backends.As[backends.Lister](b)
	if !ok {
		return nil, fmt.Errorf("dashboard: %w: the backend (%T) has no List",
			errors.ErrUnsupported, b)
	}
	d := &Dashboard{backend: b, lister: lister, config: c, cursors: cursors,
		stores: map[string]*store{}}
	d.observed, _ = backends.As[*Observed](b)
	for _, s := range c.Stores {
		cancel, err := pending.New(b, codec.JSON[struct{}](), s.Policy)
		if err != nil {
			return nil, fmt.Errorf("dashboard: %w", err)
		}
		name := s.Policy.Name
		if d.stores[name] != nil {
			return nil, fmt.Errorf("dashboard: two stores are named %q", name)
		}
		d.stores[name] = &store{s, cancel}
		d.names = append(d.names, name)
	}
	d.draining, d.drain = context.WithCancel(context.Background())
	return d, nil
}

// Drain ends all live streams, so that a server can shut down:
// http.Server.RegisterOnShutdown(d.Drain). Pages then try to reconnect, perhaps to
// another node.
func (d *Dashboard) Drain() { d.drain() }

// contentPolicy allows the files of this handler, and nothing else.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP implements [http.Handler]. Only the last segment of the path counts, so that a
// dashboard works under any prefix, stripped or not.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	unsent.Limit(w, r)
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // URLs have names of mailboxes
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case reads && assets[name] != "":
		if param(r, "v") == version {
			h.Set("Cache-Control", "max-age=31536000, immutable")
		}
		http.ServeFileFS(w, r, files, assets[name])
	case !d.allowed(r, View, "", ""):
		d.notFound(w)
	case r.Method == http.MethodGet && name == "events":
		d.events(w, r)
	case reads && pages[name] != nil:
		d.page(w, r, pages[name])
	case r.Method == http.MethodPost && name == "cancel":
		d.cancel(w, r)
	default:
		d.notFound(w)
	}
}

func (d *Dashboard) allowed(r *http.Request, action Action, store, mailbox string) bool {
	_, allowed := d.config.Access(r, action, store, mailbox)
	return allowed
}

// visible returns the store with this name if the sender of r may see it.
func (d *Dashboard) visible(r *http.Request, name string) *store {
	if s := d.stores[name]; s != nil && d.allowed(r, View, name, "") {
		return s
	}
	return nil
}

// visibleNames returns the names of the stores that the sender of r may see, in order.
func (d *Dashboard) visibleNames(r *http.Request) (names []string) {
	for _, name := range d.names {
		if d.visible(r, name) != nil {
			names = append(names, name)
		}
	}
	return names
}
