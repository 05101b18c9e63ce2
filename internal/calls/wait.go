package calls

import "time"

// Pass lets time go by, which in most tests is fake.
func Pass(d time.Duration) { <-time.After(d) }

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
