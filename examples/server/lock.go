package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// folderLock is held by one server at a time, and in this server by one request at a time. If the
// holder is killed, the system frees the lock.
type folderLock struct {
	path string
	turn chan struct{} // held by one request of this process
}

func newFolderLock(path string) (*folderLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	return &folderLock{path: path, turn: make(chan struct{}, 1)}, f.Close()
}

// lockPollInterval is the time between two tries to take the lock. Another server usually holds it
// for a few milliseconds.
const lockPollInterval = 5 * time.Millisecond

// while runs do while it holds the lock.
func (l *folderLock) while(ctx context.Context, do func() error) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", l.path, ctx.Err())
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close() // releases the lock
	for {
		held, err := tryLock(f)
		if err != nil {
			return fmt.Errorf("lock %s: %w", l.path, err)
		}
		if held {
			return do()
		}
		select {
		case <-time.After(lockPollInterval):
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", l.path, ctx.Err())
		}
	}
}
