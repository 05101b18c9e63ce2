package main

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/pending/dashboard"
	"github.com/pendingq/pendingq/pending/pendingotel"
)

// instrument returns a backend for all stores of the node, and the handler of /metrics. The backend
// counts operations for the dashboard and for Prometheus. A scrape does not ask the backend.
func instrument(engine backends.Backend) (backends.Backend, http.Handler, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprom.New(otelprom.WithRegisterer(registry))
	if err != nil {
		return nil, nil, err
	}
	provider := metric.NewMeterProvider(metric.WithReader(exporter))
	b, err := pendingotel.Instrument(dashboard.Observe(engine),
		&pendingotel.Options{MeterProvider: provider})
	return b, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), err
}

// newMetricsServer serves metrics and health at an address of their own. It returns nil if there is
// no address.
func newMetricsServer(addr string, metrics http.Handler, h *health) *http.Server {
	if addr == "" {
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	h.routes(mux)
	return &http.Server{Addr: addr, Handler: mux, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second}
}
