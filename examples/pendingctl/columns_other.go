//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package main

import "io"

// columns returns how wide a terminal is at least.
func columns(io.Writer) int { return 80 }
