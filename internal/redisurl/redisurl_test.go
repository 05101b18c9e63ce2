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
}

func TestAURLSaysWhichServersItIsFor(t *testing.T) {
	for text, want := range map[string]string{
		"redis://one:7000/3":                         "*redis.Client at one:7000",
		"redis://one:70/3?master_name=m&addr=two:71": "*redis.Client at one:70, two:71",
		"rediss://ada:x@one:70?addr=two:71":          "*redis.ClusterClient at one:70, two:71",
		"redis://ada:a%2Fb@one:7000?cluster=true":    "*redis.ClusterClient at one:7000",
	} {
		client, addr, err := redisurl.Client(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := fmt.Sprintf("%T at %s", client, addr); got != want {
			t.Errorf("%s: a %s, want a %s", text, got, want)
		}
		client.Close()
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
		for _, servers := range []string{"", "addr=two:1", "cluster=true", "master_name=m"} {
			client, _, err := redisurl.Client(text + separator(text) + servers)
			if err != nil {
				check(t, text, err, why)
			} else {
				client.Close() // a Cluster has no databases
			}
		}
	}
}

func separator(text string) string {
	if strings.Contains(text, "?") {
		return "&"
	}
	return "?"
}

func check(t *testing.T, text string, err error, why string) {
	t.Helper()
	got := fmt.Sprintf("%v %+v %#v", err, err, err)
	if err == nil || !strings.Contains(got, why) ||
		strings.Contains(got, "hun") || strings.Contains(got, "ter2") {
		t.Errorf("%s: got %s, want an error that says %q", text, got, why)
	}
}
