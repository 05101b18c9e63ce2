package redisurl_test

import (
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/internal/redisurl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestURLsAreRead(t *testing.T) {
	opts, err := redisurl.Parse("redis://ada:a%2Fb@host:7000/3")
	if err != nil || opts.Addr != "host:7000" || opts.Password != "a/b" || opts.DB != 3 ||
		!opts.ContextTimeoutEnabled {
		t.Errorf("got %v, %v", opts, err)
	}
	nodes, err := redisurl.ParseCluster("rediss://ada:x@one:7000?addr=two:7001")
	if err != nil || len(nodes.Addrs) != 2 || nodes.Password != "x" ||
		!nodes.ContextTimeoutEnabled {
		t.Errorf("got %v, %v", nodes, err)
	}
}

func TestErrorsNeverQuoteThePassword(t *testing.T) {
	for text, why := range map[string]string{
		"redis://:hunter2@host:port/0":      "not a URL",
		"redis://:hunter2@host name:6379":   "not a URL",
		"redis://ada:hun/ter2@host:6379":    "not a URL",
		"redis://ada:hun#ter2@host:6379":    "not a URL",
		"redis://ada:hunter2%@host:6379":    "hexadecimal",
		"redis://ada:%hunter2@host:6379":    "hexadecimal",
		"redis://ada:hunter2 @host:6379":    "not a URL",
		":hunter2@host:6379":                "not a URL",
		"hunter2:x@host:6379":               "begin with",
		"http://ada:hunter2@host:6379":      "begin with",
		"":                                  "begin with",
		"redis://ada:12/hunter2@host:6379":  "database",
		"redis://ada:hunter2@host:6379/x":   "database",
		"redis://ada?hunter2@host:6379":     "option",
		"redis://h:1?read_timeout=hunter2":  "option",
		"redis://ada:hunter2@host:1?what=1": "option",
	} {
		_, err := redisurl.Parse(text)
		check(t, text, err, why)
		if _, err := redisurl.ParseCluster(text); err != nil { // it reads no database
			check(t, text, err, why)
		}
	}
}

func check(t *testing.T, text string, err error, why string) {
	t.Helper()
	got := fmt.Sprintf("%v %+v %#v", err, err, err)
	if err == nil || !strings.Contains(got, why) ||
		strings.Contains(got, "hun") || strings.Contains(got, "ter2") {
		t.Errorf("%s: got %s, want an error that says %q", text, got, why)
	}
}
