//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package main

import (
	"io"
	"os"
	"syscall"
	"unsafe"
)

// columns returns how wide a terminal is now.
func columns(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok {
		return defaultColumns
	}
	var size struct{ rows, columns, width, height uint16 }
	_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TIOCGWINSZ,
		uintptr(unsafe.Pointer(&size))) // which leaves 0 if this is no terminal
	if size.columns == 0 {
		return defaultColumns
	}
	return int(size.columns)
}

const defaultColumns = 80
