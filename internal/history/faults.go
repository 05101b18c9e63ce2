package history

import (
	"sync"
	"sync/atomic"
)

// Faults injects faults while calls are made. It knows which calls a fault may have disturbed. The
// zero value injects none.
type Faults struct {
	Inject func(turn int) // makes one fault and returns when it is over
	Every  int64          // how many calls lie between two faults; 0: no faults

	calls       atomic.Int64
	begun, over atomic.Int64
	one         sync.Mutex // one fault at a time
}

// Calls returns how many calls have been made.
func (f *Faults) Calls() int64 { return f.calls.Load() }

// Count counts a call, and injects a fault if it is time for one.
func (f *Faults) Count() (done int64) {
	done = f.calls.Add(1)
	if f.Inject != nil && f.Every > 0 && done%f.Every == 0 {
		f.one.Lock()
		defer f.one.Unlock()
		defer f.Begin()()
		f.Inject(int(done / f.Every))
	}
	return done
}

// Begin begins a fault. The caller calls over when the fault is over.
func (f *Faults) Begin() (over func()) {
	f.begun.Add(1)
	return func() { f.over.Add(1) }
}

// Watch begins to watch a call. After the call, disturbed reports whether a fault may have
// disturbed it.
func (f *Faults) Watch() (disturbed func() bool) {
	over, begun := f.over.Load(), f.begun.Load()
	return func() bool { return begun != over || f.begun.Load() != begun }
}
