package goredis_test

import (
	"testing"
	"time"

	"github.com/pendingq/pendingq/internal/redistest"
)

func TestSentinelFailsOverUnderLoad(t *testing.T) {
	s := redistest.StartSentinel(t)
	l := newLoad(newRig(t, s.Client(t)), []string{"runtime-1", "runtime-2", "runtime-3", "runtime-4"})
	var before []string
	l.during(func() {
		s.Servers[0].Kill()
		killed := time.Now()
		l.untilWritable(box)
		before = l.ids()
		t.Logf("writable again after %v", time.Since(killed).Round(time.Millisecond))
	})
	l.checkExactlyOnce(l.ids()[len(before):])
	l.checkOncePerMaster()
	t.Logf("%+v", l.tally())
}

func TestSentinelClientsLeaveTheMasterThatComesBack(t *testing.T) {
	s := redistest.StartSentinel(t)
	l := newLoad(newRig(t, s.Client(t)), []string{"runtime-1", "runtime-2"})
	var before []string
	l.during(func() {
		s.Servers[0].Stop()
		l.untilWritable(box)
		before = l.ids()
		s.Servers[0].Continue() // for some seconds it believes to be the master still
	})
	l.checkExactlyOnce(l.ids()[len(before):])
	l.checkOncePerMaster()
	t.Logf("%+v", l.tally())
}
