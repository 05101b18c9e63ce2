package http_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/internal/history"
	"github.com/pendingq/pendingq/skills"
)

// errand is a request as front ends and daemons saw it over HTTP.
type errand struct {
	id, runtime string
	route       *route
	claims      map[string]bool // the ids of the claims that gave it to a daemon
	reports     map[string]bool // the bodies of the final reports that were sent about it
	tries       int             // how often final reports were sent
	reporter    *process        // the last daemon that sent a final report
	takenAt     time.Time       // when a final report was answered for the first time
	signs       []sign          // signs of life that were answered
	final       string          // the first answer that showed its end
	finalAt     time.Time       // when a front end got final
}

// sign is a sign of life: when it was sent, and answered.
type sign struct{ began, was time.Time }

// taken notes that a report was answered.
func (e *errand) taken(isSign bool, began, was time.Time) {
	switch {
	case isSign:
		e.signs = append(e.signs, sign{began, was})
	case e.takenAt.IsZero():
		e.takenAt = was
	}
}

// lasts returns the earliest time at which the lease can expire. It assumes a claim at the time of
// the create, and counts only signs of life that were answered before the lease expired.
func (e *errand) lasts(created time.Time, running time.Duration) time.Time {
	until := created.Add(running)
	for _, s := range e.signs {
		if later := s.began.Add(running); s.was.Before(until) && later.After(until) {
			until = later
		}
	}
	return until
}

// deed is one call of a daemon's handler.
type deed struct {
	runtime string
	route   *route
	subject string // the argument of the call
}

// ledger is everything that front ends and daemons saw. Its methods report contradictions.
type ledger struct {
	testing.TB
	mu       sync.Mutex
	errands  map[string]*errand
	deeds    map[string]deed   // by the word that the handler answered with
	beating  map[*process]bool // true while the daemon's last heartbeat is unanswered
	outcomes map[string]int
}

func newLedger(t testing.TB) *ledger {
	return &ledger{TB: t, errands: map[string]*errand{}, deeds: map[string]deed{},
		beating: map[*process]bool{}, outcomes: map[string]int{}}
}

// note changes the errand of a request.
func (l *ledger) note(r *route, runtime, id string, change func(*errand)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.errands[id]
	if e == nil {
		e = &errand{id: id, runtime: runtime, route: r, claims: map[string]bool{},
			reports: map[string]bool{}}
		l.errands[id] = e
	}
	if e.runtime != runtime || e.route != r {
		l.Errorf("%s of %s%s was also seen at %s%s", id, e.runtime, e.route.path, runtime, r.path)
	}
	change(e)
}

// beats notes that a daemon has sent a heartbeat, or got an answer.
func (l *ledger) beats(p *process, answered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beating[p] = !answered
}

// silenced counts the daemons of a runtime that ended before their last heartbeat was answered.
func (l *ledger) silenced(runtime string) (n int) {
	for p, unanswered := range l.beating {
		if unanswered && p.id == runtime {
			n++
		}
	}
	return n
}

// did notes a handler's call and returns the word for it to answer with.
func (l *ledger) did(d deed) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	word := fmt.Sprintf("word-%d.", len(l.deeds)+1)
	l.deeds[word] = d
	return word
}

var words = regexp.MustCompile(`word-\d+\.`)

// reading is a request as a front end reads it.
type reading struct {
	ID            string        `json:"id"`
	RuntimeID     string        `json:"runtime_id"`
	Status        string        `json:"status"`
	Error         string        `json:"error"`
	CreatedAt     time.Time     `json:"created_at"`
	SkillKey      string        `json:"skill_key"`
	TargetVersion string        `json:"target_version"`
	Skill         *skills.Skill `json:"skill"`
}

func parse(body string) (r reading) {
	_ = json.Unmarshal([]byte(body), &r) // without a record in the body, r stays empty
	return r
}

func (r reading) ended() bool { return backends.Record{Status: r.Status}.Ended() }

// saw notes the answer to a front end's read. Began is when the read began. It reports whether the
// request has ended.
func (l *ledger) saw(r *route, runtime, id string, began time.Time, body string) (ended bool) {
	got := parse(body)
	if got.ID != id || got.RuntimeID != runtime {
		l.Errorf("asked %s%s for %s, got %s", runtime, r.path, id, body)
		return true
	}
	l.note(r, runtime, id, func(e *errand) {
		switch {
		case !got.ended() && e.final != "" && began.After(e.finalAt):
			l.Errorf("%s had ended, and is live again:\n%s\nearlier\n%s", id, body, e.final)
		case got.ended() && e.final == "":
			e.final, e.finalAt = body, time.Now()
		case got.ended() && e.final != body:
			l.Errorf("the end of %s has changed:\n%s\nearlier\n%s", id, body, e.final)
		}
	})
	return got.ended()
}

// notFound notes that a read did not find a request. If an earlier answer has named the request, it
// was lost.
func (l *ledger) notFound(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.errands[id]; known {
		l.Errorf("%s was lost", id)
	}
}

// check checks every request at the end of the run.
func (l *ledger) check(s *service) {
	answers := map[string]string{} // words, and the request that they answered
	for _, e := range l.errands {
		l.checkErrand(e, s)
		for _, word := range words.FindAllString(e.final, -1) {
			if other, used := answers[word]; used && other != e.id {
				l.Errorf("%s answers %s and %s", word, other, e.id)
			}
			answers[word] = e.id
		}
		l.outcomes[parse(e.final).Status]++
	}
	l.checkDeeds()
	l.checkClaims(s.journal)
}

func (l *ledger) checkErrand(e *errand, s *service) {
	got := parse(e.final)
	wrong := func(format string, args ...any) {
		l.Errorf("%s\nread %s\nclaims %v\nreports %v", fmt.Sprintf(format, args...), e.final,
			slices.Collect(maps.Keys(e.claims)), slices.Collect(maps.Keys(e.reports)))
	}
	if len(e.claims) > 1 {
		wrong("it was handed out twice")
	}
	if len(e.reports) > 1 || len(e.reports) > len(e.claims) {
		wrong("it has different final reports, or a report without a claim")
	}
	if len(e.reports) == 0 && got.Status != backends.StatusTimeout {
		wrong("it ended without a report, but did not time out")
	}
	until := e.lasts(got.CreatedAt, s.scaled(e.route.policy.RunningTimeout))
	unanswered := len(e.reports) > 0 && e.takenAt.IsZero()
	if unanswered && e.tries < maxReports && !e.reporter.killed.Load() {
		wrong("its daemon lived, but gave up after %d tries to report it", e.tries)
	}
	if got.Status == backends.StatusTimeout && !e.takenAt.IsZero() && e.takenAt.Before(until) {
		wrong("it was reported in time, but timed out")
	}
	if problem := l.checkAnswer(e, got); problem != "" {
		wrong("%s", problem)
	}
	if e.route == imports {
		s.checkSaved(got, wrong)
	}
}

// maxReports is how often a daemon sends a report that gets no answer.
const maxReports = 4

// checkAnswer compares the end of a request with the call of its handler.
func (l *ledger) checkAnswer(e *errand, got reading) (problem string) {
	found := words.FindAllString(e.final, -1)
	switch got.Status {
	case backends.StatusCompleted:
		if len(found) != 1 {
			return "its answer does not have exactly one handler's word"
		}
	case backends.StatusFailed, backends.StatusTimeout:
	case string(skills.OutcomeConflict):
		if e.route != imports {
			return "it ended with a conflict, but is no import"
		}
	default:
		return "its status is unknown"
	}
	for _, word := range found {
		want := deed{runtime: e.runtime, route: e.route, subject: got.SkillKey + got.TargetVersion}
		if l.deeds[word] != want {
			return fmt.Sprintf("its answer belongs to %+v", l.deeds[word])
		}
		if !strings.Contains(strings.Join(slices.Collect(maps.Keys(e.reports)), ""), word) {
			return "its answer is in none of its reports"
		}
	}
	return ""
}

// checkDeeds checks that handlers were called no more often than requests were claimed.
func (l *ledger) checkDeeds() {
	left := map[deed]int{}
	for _, e := range l.errands {
		got := parse(e.final)
		if len(e.claims) > 0 {
			left[deed{e.runtime, e.route, got.SkillKey + got.TargetVersion}]++
		}
	}
	for _, d := range l.deeds {
		if left[d]--; left[d] < 0 {
			l.Errorf("a handler of %s%s was called for %q more often than a request was claimed",
				d.runtime, d.route.path, d.subject)
		}
	}
}

// checkClaims checks that each request that a node claimed reached a daemon, unless the daemon
// ended before its heartbeat was answered.
func (l *ledger) checkClaims(j *journal) {
	for mailbox, calls := range j.calls {
		stranded := map[string]bool{} // by the claim's id
		for _, c := range calls {
			op, isClaim := c.Op.(backends.Claim)
			if isClaim && c.Answered() {
				stranded[op.ID] = l.strands(c)
			}
		}
		maps.DeleteFunc(stranded, func(_ string, is bool) bool { return !is })
		if silenced := l.silenced(mailbox); len(stranded) > silenced {
			l.Errorf("%d claims for %s reached no daemon, but only %d daemons ended before "+
				"their last heartbeat was answered",
				len(stranded), mailbox, silenced)
		}
	}
}

// strands reports whether no daemon got the requests of a claim. A repeat without requests strands
// nothing.
func (l *ledger) strands(c *calls.Call) bool {
	for _, from := range c.Claimed {
		for _, rec := range from.Records {
			return len(l.errands[rec.ID].claims) == 0
		}
	}
	return false
}

// checkSaved checks that the library has the skill of an import if and only if the import has
// completed. There is one exception: the request timed out, and the node was killed or got no
// answer from the storage before it could take the skill back.
func (s *service) checkSaved(got reading, wrong func(string, ...any)) {
	saved, held := s.library.holds(got.ID)
	switch completed := got.Status == backends.StatusCompleted; {
	case completed && !held:
		wrong("it completed, but the library does not have its skill")
	case completed && (got.Skill == nil || got.Skill.ID != saved.ID ||
		got.Skill.Content != saved.Content):
		wrong("it completed with a skill that is not %+v", saved)
	case held && !completed &&
		(got.Status != backends.StatusTimeout || s.journal.refusedEnd(got.ID)):
		wrong("it did not complete, but the library has its skill")
	case held && !completed:
		s.leftBehind++
	}
}

// refusedEnd reports whether a node learned that its End was refused, and could take the skill
// back.
func (j *journal) refusedEnd(id string) bool {
	return !j.unsure[id] && slices.ContainsFunc(j.calls[j.asked[id].Mailbox],
		func(c *calls.Call) bool {
			op, isEnd := c.Op.(backends.End)
			return isEnd && op.ID == id && calls.Refusal(c.Err)
		})
}

// check checks the history of the nodes' calls to the storage against the model.
func (j *journal) check(t testing.TB) {
	stores := map[string]backends.Terms{}
	for _, op := range j.creates {
		stores[op.Store] = op.Terms
	}
	for mailbox, calls := range j.calls {
		if mailbox == "" {
			continue
		}
		h := history.New(calls)
		h.CheckMailbox(slices.Collect(maps.Values(stores)))
		if err := h.Check(); err != nil {
			t.Error(err)
		}
	}
}
