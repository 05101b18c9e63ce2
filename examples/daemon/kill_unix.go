//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// killGroup makes the end of the context also kill the processes that the command has started.
func killGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
