// Package unsenttest helps tests of handlers that set deadlines.
package unsenttest

import (
	"net/http/httptest"
	"time"
)

// Recorder is a ResponseWriter that notes the last deadlines.
type Recorder struct {
	*httptest.ResponseRecorder
	ReadBy, WriteBy time.Time
}

// NewRecorder returns a Recorder without deadlines.
func NewRecorder() *Recorder { return &Recorder{ResponseRecorder: httptest.NewRecorder()} }

// SetReadDeadline notes t.
func (r *Recorder) SetReadDeadline(t time.Time) error {
	r.ReadBy = t
	return nil
}

// SetWriteDeadline notes t.
func (r *Recorder) SetWriteDeadline(t time.Time) error {
	r.WriteBy = t
	return nil
}
