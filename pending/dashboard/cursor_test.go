package dashboard_test

import (
	"bytes"
	"net/url"
	"testing"
	"testing/synctest"
)

// A sealed cursor always has the same text, so that a live page with a next page does not change
// with each load. In a bubble no load takes time, so that both loads read equally far.
func TestOnlyASealedCursorOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := func(fill byte) func(*world) {
			return func(w *world) { w.config.CursorKey = bytes.Repeat([]byte{fill}, 32) }
		}
		w := crowded(t, key(1))
		first, second := w.get("/"), w.places(t)[1]
		if w.get("/") != first {
			t.Error("the same page has two texts")
		}
		w.shows(w.get(second), "First page")
		link, err := url.Parse(second)
		w.must(err)
		sealed := link.Query().Get("after")
		for _, after := range []string{"x", "25,", "0,0 tenant-b-9", "x" + sealed, sealed[1:]} {
			if w.get(page("", "after", after)) != first {
				t.Errorf("after=%s is not the first page", after)
			}
		}
		for fill, opens := range map[byte]bool{1: true, 2: false} {
			other := newWorld(t, w.backend, key(fill))
			if got := other.get(second) == w.get(second); got != opens {
				t.Errorf("a node with key %d opens the cursor: %t, want %t", fill, got, opens)
			}
		}
	})
}
