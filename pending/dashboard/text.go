package dashboard

import (
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode"

	"github.com/pendingq/pendingq/pending"
)

// functions are the functions of the templates.
var functions = template.FuncMap{
	"after":    after,
	"attempts": attempts,
	"bytes":    size,
	"clock":    clock,
	"exact":    exact,
	"human":    human,
	"latency":  latency,
	"link":     link,
	"ms":       time.Duration.Milliseconds,
	"one":      func(row mailboxRow) []mailboxRow { return []mailboxRow{row} },
	"shown":    shown,
	"tick":     newTick,
	"version":  func() string { return version },
}

// tick is a duration that the script of the page counts up or down.
type tick struct {
	Direction string // up or down
	Left      time.Duration
	At        time.Time // the instant that it counts from or to
}

func newTick(direction string, left time.Duration, at time.Time) tick {
	return tick{direction, left, at}
}

// human returns a duration in words. The script of the pages has the same function.
func human(d time.Duration) string {
	s := int64(max(0, d) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %02d s", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%d h %02d min", s/3600, s/60%60)
	}
	return fmt.Sprintf("%d d %02d h", s/86400, s/3600%24)
}

// exact returns a duration of a policy, without parts that are zero.
func exact(d time.Duration) string {
	if d%time.Second != 0 || d < time.Second {
		return d.String()
	}
	for _, zero := range []string{" 00 s", " 00 min", " 00 h"} {
		if short, found := strings.CutSuffix(human(d), zero); found && d%time.Minute == 0 {
			return short
		}
	}
	return human(d)
}

// after returns the time from one event to a later one, in words.
func after(d time.Duration) string {
	if d < 10*time.Second {
		return latency(d)
	}
	return human(d)
}

// latency returns a short duration with two or three digits.
func latency(d time.Duration) string {
	switch {
	case d == 0:
		return "–"
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.3g s", d.Seconds())
}

func size(n int) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 UTC") }

// attempts returns how often a request may be claimed.
func attempts(p pending.Policy) int { return max(1, p.MaxAttempts) }

// shown returns a name with its unprintable characters escaped. So no name hides characters or
// changes the direction of the text.
func shown(name string) string {
	var b strings.Builder
	for _, r := range name {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\u{%x}", r)
		}
	}
	return b.String()
}
