package remote_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/pending"
)

func TestBadURLsAreRefusedWithoutTheirSecrets(t *testing.T) {
	for _, url := range []string{"", "node.example", "ftp://x", "http://", "http://user:hunter2@x/",
		"http://x/?token=hunter2", "http://x/?", "http://x/#hunter2", "http://hunter2\x00",
		"http://hunter2:port/"} {
		if _, err := remote.New(url, nil); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v", url, err)
		}
	}
}

func TestANegativeLimitIsRefused(t *testing.T) {
	if _, err := remote.New("http://x", &remote.Options{MaxAnswer: -1}); err == nil {
		t.Error("accepted")
	}
}

func TestATokenThatNoHeaderCanHoldIsRefused(t *testing.T) {
	_, err := remote.New("http://x", &remote.Options{Token: "hunter2\n"})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestManyStoresWithDefaultsAreServed(t *testing.T) {
	config := remote.Config{Access: everything{}}
	for i := range 20 {
		p := policy(fmt.Sprint("store", i))
		p.MaxPayload = 0 // the default
		config.Stores = append(config.Stores, p)
	}
	if _, err := remote.Handler(memory.New(), config); err != nil {
		t.Error(err)
	}
}

func TestAnInvalidConfigIsRefused(t *testing.T) {
	good := remote.Config{Stores: []pending.Policy{policy("s")}, Access: everything{}}
	for name, change := range map[string]func(*remote.Config){
		"no stores":         func(c *remote.Config) { c.Stores = nil },
		"no access":         func(c *remote.Config) { c.Access = nil },
		"a store twice":     func(c *remote.Config) { c.Stores = append(c.Stores, policy("s")) },
		"a bad policy":      func(c *remote.Config) { c.Stores = []pending.Policy{{Name: "s"}} },
		"a low MaxInFlight": func(c *remote.Config) { c.MaxInFlight = 4<<20 - 1 },
		"a negative limit":  func(c *remote.Config) { c.MaxParked = -1 },
	} {
		c := good
		change(&c)
		if _, err := remote.Handler(memory.New(), c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
