package goredis_test

import (
	"testing"
	"time"

	"github.com/pendingq/pendingq/internal/redistest"
)

func TestSentinelFailsOverUnderLoad(t *testing.T) {
	s := redistest.StartSentinel(t)
	l := newLoad(newRig(t, s.Client(t)), []string{"runtime-1", "runtime-2", "runtime-3", "runtime-4"})
	l.checkFailOver(s, func() {
		s.Servers[0].Kill()
		killed := time.Now()
		l.untilWritable(box)
		t.Logf("writable again after %v", time.Since(killed).Round(time.Millisecond))
	}, func() {})
}

func TestSentinelClientsLeaveTheMasterThatComesBack(t *testing.T) {
	s := redistest.StartSentinel(t)
	l := newLoad(newRig(t, s.Client(t)), []string{"runtime-1", "runtime-2"})
	l.checkFailOver(s, func() {
		s.Servers[0].Stop()
		l.untilWritable(box)
	}, s.Servers[0].Continue) // for some seconds it believes to be the master still
}

// checkFailOver lets a master fail over under load, and checks that what is created on the new one
// is neither lost nor done twice. On a machine that stalls, sentinels may take the new master for
// dead as well. Then Redis may lose that, too, and only the rules for every master are checked.
func (l *load) checkFailOver(s *redistest.Sentinel, fail, afterwards func()) {
	l.Helper()
	var before []string
	var epoch int
	l.during(func() {
		fail()
		l.until("sentinels agree on the new master", func() bool {
			epoch = s.Epoch(l.T)
			return epoch > 0
		})
		before = l.begunIDs()
		afterwards()
	})
	last := s.Epoch(l.T)
	if last == epoch {
		l.checkExactlyOnce(l.createdSince(before))
	}
	l.checkOncePerMaster(1 + last)
	l.Logf("%d masters: %+v", 1+last, l.tally())
}
