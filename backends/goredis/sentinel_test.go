package goredis_test

import (
	"testing"
	"time"

	"github.com/pendingq/pendingq/internal/redistest"
)

func TestSentinelFailsOverUnderLoad(t *testing.T) {
	parallel(t)
	s := redistest.StartSentinel(t)
	mailboxes := []string{"runtime-1", "runtime-2", "runtime-3", "runtime-4"}
	l := newLoad(newRig(t, s.Client(t)), mailboxes)
	l.checkFailOver(s, func() {
		s.Servers[0].Kill()
		killed := time.Now()
		l.untilWritable(box)
		t.Logf("writable again after %v", time.Since(killed).Round(time.Millisecond))
	}, func() {})
}

func TestSentinelClientsLeaveTheMasterThatComesBack(t *testing.T) {
	parallel(t)
	s := redistest.StartSentinel(t)
	l := newLoad(newRig(t, s.Client(t)), []string{"runtime-1", "runtime-2"})
	l.checkFailOver(s, func() {
		s.Servers[0].Stop()
		l.untilWritable(box)
	}, s.Servers[0].Continue) // for some seconds it still acts as a master
}

// checkFailOver lets a master fail over under load. Requests that are created on the new master
// must be handled exactly once. On a machine that stalls, the new master may fail over, too. Then
// Redis may lose these requests, and only the rules for each master are checked.
func (l *load) checkFailOver(s *redistest.Sentinel, fail, afterwards func()) {
	l.Helper()
	var before []string
	var epoch int
	l.during(func() {
		fail()
		l.until("sentinels agree on the new master", func() bool {
			lowest, highest := s.Epochs(l.T)
			epoch = highest
			return lowest > 0 && lowest == highest
		})
		l.until("the client has left the old master", func() bool {
			return !s.Connected(s.Servers[0])
		})
		before = l.begunIDs()
		afterwards()
	})
	_, last := s.Epochs(l.T)
	if last == epoch {
		l.checkExactlyOnce(l.createdSince(before))
	}
	l.checkOncePerMaster(1 + last)
	l.Logf("%d masters: %+v", 1+last, l.tally())
}
