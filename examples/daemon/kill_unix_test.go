//go:build unix

package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A grandchild holds a FIFO open. Readers see its end once no process has it open.
func TestACancelledUpdateKillsItsProcesses(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := update(ctx, "sleep 300 >"+fifo+" & wait", "2")
		ended <- err
	}()
	held, err := os.Open(fifo) // waits until the grandchild has opened it
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	cancel()
	if err := <-ended; err == nil {
		t.Error("the cancelled update has succeeded")
	}
	if err := held.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(held); err != nil {
		t.Errorf("%v: the grandchild lives on", err)
	}
}
