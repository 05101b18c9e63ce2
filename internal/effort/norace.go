//go:build !race

package effort

// Race is whether the race detector is on.
const Race = false
