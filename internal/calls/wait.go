package calls

import "time"

// Pass lets time go by, which in most tests is fake. It does not wait for a timer that is due from
// the start: two goroutines of a synctest bubble that receive from such timers at once crash the
// race detector (Go issue 78156).
func Pass(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

// Await looks every so often whether a condition holds, and reports whether it did in time.
func Await(patience, every time.Duration, condition func() bool) bool {
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-time.After(every):
		case <-deadline:
			return false
		}
	}
	return true
}
