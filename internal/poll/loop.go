package poll

import (
	"context"
	"sync"
	"time"
)

// Loop claims jobs and runs them.
type Loop struct {
	Concurrency int           // how many jobs run at a time
	Grace       time.Duration // how long jobs may run after the end of ctx, or an error of claim
	Cause       error         // the cause of their contexts after Grace
}

// Run calls claim again and again while a slot is free, and runs the jobs that it returns. Claim
// gets the number of free slots. If it returns more jobs, the others wait for slots. Run stops
// claiming when ctx ends or claim returns an error. Then it waits for the jobs and returns the
// error of claim.
func (l Loop) Run(ctx context.Context, claim func(ctx context.Context, free int) (
	jobs []func(context.Context), err error)) (err error) {
	working, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	claiming, stopClaiming := context.WithCancel(ctx)
	defer stopClaiming()
	context.AfterFunc(claiming, func() { // perhaps while a claim is in flight
		_ = Sleep(working, l.Grace)
		stop(l.Cause)
	})
	var work sync.WaitGroup
	slots := make(chan struct{}, l.Concurrency) // holds a value for each running job
	for ctx.Err() == nil && err == nil {
		select {
		case slots <- struct{}{}: // a slot is free
		case <-ctx.Done():
			continue
		}
		free := 1 + cap(slots) - len(slots)
		<-slots
		var jobs []func(context.Context)
		jobs, err = claim(ctx, free)
		for _, job := range jobs {
			hasSlot := false
			select {
			case slots <- struct{}{}:
				hasSlot = true
			default:
			}
			work.Go(func() {
				if !hasSlot {
					slots <- struct{}{}
				}
				defer func() { <-slots }()
				job(working)
			})
		}
	}
	stopClaiming()
	work.Wait()
	return err
}
