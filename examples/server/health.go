package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

// health answers whether the node lives and is ready for work. If it is not ready, only the log
// says why.
type health struct {
	check   func(context.Context) error
	logger  *slog.Logger
	leaving atomic.Bool
}

const healthTime = 3 * time.Second

// routes adds /livez, /readyz, and /healthz, which equals /readyz.
func (h *health) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		state(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /readyz", h.ready)
	mux.HandleFunc("GET /healthz", h.ready)
}

// ready answers 200 if the backend works and the node is not shutting down, and 503 otherwise.
func (h *health) ready(w http.ResponseWriter, r *http.Request) {
	if h.leaving.Load() {
		state(w, http.StatusServiceUnavailable, "shutting down")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), healthTime)
	defer cancel()
	if err := h.check(ctx); err != nil {
		h.logger.Error("not ready", "error", err)
		state(w, http.StatusServiceUnavailable, "unavailable")
		return
	}
	state(w, http.StatusOK, "ok")
}

func state(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"status":"`+text+`"}`)
}

// leave makes ready answer 503, and gives load balancers some time to notice.
func (h *health) leave(drain time.Duration) {
	h.leaving.Store(true)
	if drain > 0 {
		<-time.After(drain)
	}
}
