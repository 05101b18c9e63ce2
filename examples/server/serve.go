package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// shutdownTime is how long requests may take to finish once the server is told to go. Parked waits
// are answered at once. The others are reports whose bodies are still coming in.
const shutdownTime = 20 * time.Second

// serve serves until ctx ends, and calls ready with its address once it listens.
func serve(ctx context.Context, o options, logger *slog.Logger, ready func(addr string)) error {
	access, err := readTokens(o.tokens)
	if err != nil {
		return &optionError{"tokens", err}
	}
	library, err := openLibrary(o.skills, logger)
	if err != nil {
		return &optionError{"skills", err}
	}
	shared, err := openBackend(ctx, o, logger)
	if err != nil {
		return err
	}
	defer shared.close()
	stores, err := skills.New(shared.backend)
	if err != nil {
		return err
	}
	handler, err := skillshttp.New(skillshttp.Config{Stores: stores, Access: access, Library: library,
		Presence: shared.presence, Catalogue: shared.catalogue, Logger: logger})
	if err != nil {
		return err
	}
	server := skillshttp.NewServer(o.listen, handler)
	devices, err := newDevices(shared.backend, access, logger)
	if err != nil {
		return err
	}
	server.RegisterOnShutdown(devices.Drain)
	mux := http.NewServeMux()
	mux.Handle("/", handler)
	mux.Handle("/pending/", http.StripPrefix("/pending", devices))
	mux.Handle("GET /healthz", &health{check: shared.check, logger: logger})
	server.Handler = mux
	return listen(ctx, server, logger, ready)
}

func listen(ctx context.Context, server *http.Server, logger *slog.Logger, ready func(addr string)) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", server.Addr)
	if err != nil {
		return &optionError{"listen", err}
	}
	addr := listener.Addr().String()
	logger.Info("listening", "addr", addr)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	ready(addr)
	select {
	case err := <-ended:
		return fmt.Errorf("serve at %s: %w", addr, err)
	case <-ctx.Done():
	}
	logger.Info("shutting down")
	err = shutdown(context.WithoutCancel(ctx), server)
	<-ended // with http.ErrServerClosed, which is no news
	return err
}

// shutdown lets requests finish, but not for ever.
func shutdown(ctx context.Context, server *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownTime)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("cut requests off after %v: %w", shutdownTime, err), server.Close())
	}
	return nil
}
