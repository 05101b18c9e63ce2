package calls

import "time"

// Pass waits. In most tests time is fake. Pass never waits for a timer that is due at once: if two
// goroutines of a synctest bubble receive from such timers, the race detector crashes (Go issue
// 78156).
func Pass(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

// Await checks a condition every so often. It reports whether the condition held in time.
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
