package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// health serves /healthz: 200 if the backend works, else 503. Why it does not, only the log says.
type health struct {
	check  func(context.Context) error
	logger *slog.Logger
}

const healthTime = 3 * time.Second

func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), healthTime)
	defer cancel()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err := h.check(ctx); err != nil {
		h.logger.Error("unhealthy", "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"status":"unavailable"}`)
		return
	}
	_, _ = io.WriteString(w, `{"status":"ok"}`)
}
