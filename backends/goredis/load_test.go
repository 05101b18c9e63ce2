package goredis_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// load has front ends that create requests, and workers that claim and report them, during a fault.
// It counts the acknowledged calls.
type load struct {
	*rig
	terms     backends.Terms
	mailboxes []string

	mu      sync.Mutex
	begun   []string       // ids of requests that front ends tried to create
	created []string       // ids of created requests
	claimed map[string]int // the number of claims, by id
	taken   map[string]int // the number of accepted reports, by id
}

// newLoad has requests with several attempts. If a reply to a claim is lost, and the repeat reaches
// a master that has been replaced, the worker gets nothing. Then the request runs until its lease
// expires.
func newLoad(r *rig, mailboxes []string) *load {
	terms := lasting("load")
	terms.RunningTimeout, terms.MaxAttempts = 40*time.Second, 3
	return &load{rig: r, terms: terms, mailboxes: mailboxes,
		claimed: map[string]int{}, taken: map[string]int{}}
}

// during calls a function under load. It returns when every request has its answer or is lost.
func (l *load) during(happens func()) {
	l.Helper()
	creating, stopCreating := context.WithCancel(l.Context())
	working, stopWorking := context.WithCancel(l.Context())
	var creators, workers sync.WaitGroup
	for i := range 4 {
		creators.Go(func() { l.createUntil(creating, i) })
		workers.Go(func() { l.workUntil(working, i) })
	}
	l.await(50)
	happens()
	l.await(200)
	stopCreating()
	creators.Wait()
	l.until("all requests are done", func() bool { return l.tally().waiting == 0 })
	stopWorking()
	workers.Wait()
}

// await waits until n further requests have been created.
func (l *load) await(n int) {
	l.Helper()
	target := len(l.ids()) + n
	l.until("there are further requests", func() bool { return len(l.ids()) >= target })
}

func (l *load) ids() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.created)
}

// begunIDs returns the ids of all requests that front ends have tried to create so far.
func (l *load) begunIDs() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.begun)
}

// createdSince returns the ids of created requests that are not among the earlier ids.
func (l *load) createdSince(before []string) []string {
	return slices.DeleteFunc(l.ids(), func(id string) bool { return slices.Contains(before, id) })
}

func (l *load) createUntil(done context.Context, creator int) {
	for i := creator; done.Err() == nil; i++ {
		c := question(l.terms, l.mailboxes[i%len(l.mailboxes)])
		l.mu.Lock()
		l.begun = append(l.begun, c.ID)
		l.mu.Unlock()
		err := insist(l.Context(), func(ctx context.Context) error {
			_, err := l.b.Create(ctx, c)
			return err
		})
		if err != nil {
			l.Errorf("Create: %v", err)
			return
		}
		l.mu.Lock()
		l.created = append(l.created, c.ID)
		l.mu.Unlock()
		select {
		case <-time.After(3 * time.Millisecond): // leaves the machine time for the servers
		case <-done.Done():
		}
	}
}

func (l *load) workUntil(done context.Context, worker int) {
	for i := worker; done.Err() == nil; i++ {
		c := heartbeat(l.mailboxes[i%len(l.mailboxes)], 5, l.terms)
		var claimed []backends.Claimed
		err := insist(l.Context(), func(ctx context.Context) (err error) {
			claimed, err = l.b.Claim(ctx, c)
			return err
		})
		if err != nil || len(claimed[0].Errs) > 0 {
			l.Errorf("Claim: %v %v", err, claimed)
			return
		}
		for _, rec := range claimed[0].Records {
			l.report(c.ID, rec)
		}
	}
}

// report ends a request. The answer names the claim, so a repeat recognises its own answer.
func (l *load) report(claim string, rec backends.Record) {
	e := report(l.terms, rec.ID, rec.Attempt)
	e.Payload = []byte(claim)
	err := insist(l.Context(), func(ctx context.Context) error {
		_, err := l.b.End(ctx, e)
		return err
	})
	var ended *backends.EndedError
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claimed[rec.ID]++
	if err == nil || errors.As(err, &ended) && string(ended.Record.Payload) == claim {
		l.taken[rec.ID]++
	}
}

// tally counts the requests by their fate.
type tally struct {
	created, claims          int // acknowledged
	waiting                  int // for a claim, or for a report
	lost                     int // created, but not found
	unreported               int // still running although a report was accepted
	claimedAgain, takenAgain int
}

func (l *load) tally() (t tally) {
	l.Helper()
	for _, id := range l.ids() {
		status := l.status(id)
		l.mu.Lock()
		claims, taken := l.claimed[id], l.taken[id]
		l.mu.Unlock()
		t.created++
		t.claims += claims
		t.claimedAgain += max(0, claims-1)
		t.takenAgain += max(0, taken-1)
		switch {
		case status == "":
			t.lost++
		case status == backends.StatusRunning && taken > 0:
			t.unreported++
		case status != backends.StatusCompleted:
			t.waiting++
		}
	}
	return t
}

// status returns the status of a request, or "" if the request is not found.
func (l *load) status(id string) string {
	l.Helper()
	var rec backends.Record
	err := insist(l.Context(), func(ctx context.Context) (err error) {
		rec, err = l.b.Get(ctx, l.terms.Store, id)
		return err
	})
	if err != nil && !errors.Is(err, backends.ErrNotFound) {
		l.Fatalf("Get: %v", err)
	}
	return rec.Status
}

// checkExactlyOnce checks that each request was handed out once, and has one accepted report, which
// is still stored.
func (l *load) checkExactlyOnce(ids []string) {
	l.Helper()
	for _, id := range ids {
		if l.claimed[id] != 1 || l.taken[id] != 1 || l.status(id) != backends.StatusCompleted {
			l.Errorf("%s was handed out %d times, %d reports were accepted, and it reads as %q",
				id, l.claimed[id], l.taken[id], l.status(id))
		}
	}
}
