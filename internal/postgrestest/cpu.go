package postgrestest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// CPU returns the processor time that the cluster has used: of its first process and of all that it
// has started, also if they have ended. It needs Linux. Its unit is 10 ms.
func (s *Server) CPU() (time.Duration, error) {
	total, err := ticks(s.PID(), true)
	if err != nil {
		return 0, err
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.PID()))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("no children of process %d are known: %v", s.PID(), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		for pid := range strings.FieldsSeq(string(text)) {
			n, _ := strconv.Atoi(pid)
			own, _ := ticks(n, false) // it may have ended
			total += own
		}
	}
	return time.Duration(total) * 10 * time.Millisecond, nil
}

// ticks is the processor time of a process, and of its ended children if asked for.
func ticks(pid int, children bool) (n int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(after)
	last := 13 // utime, stime
	if children {
		last = 15 // cutime, cstime
	}
	for _, field := range fields[11:last] {
		more, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		n += more
	}
	return n, nil
}
