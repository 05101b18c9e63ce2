package browsertest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/pendingq/pendingq/pending"
)

var pictures = flag.String("pictures", "", "the folder that TestPictures writes pictures to")

// scene fills the stores as on an ordinary day, and returns a running request. It takes some
// seconds, so that requests have different ages.
func (w *world) scene() *pending.Request[backup] {
	ctx := context.Background()
	pause := func() { <-time.After(1700 * time.Millisecond) }
	const box = "edge-45.fra.example"
	r := w.create(box)
	pause()
	w.must(w.backups.Release(ctx, w.pop(box), 0))
	for i := range 9 {
		pause()
		mailbox := fmt.Sprintf("edge-%02d.fra.example", (i*37+3)%89)
		for range i%3 + 1 {
			w.create(mailbox)
		}
		if i%3 != 1 {
			w.pop(mailbox)
		}
		_, err := w.reboots.Create(ctx, mailbox, backup{})
		w.must(err)
		c, err := w.reboots.PopPending(ctx, mailbox)
		w.must(err)
		w.must(w.reboots.Complete(ctx, c))
		if i < 2 {
			w.create(box)
		}
	}
	for i := range 3 {
		c := w.pop(box)
		pause()
		c.Payload.Copied = "31.4 of 80 GiB"
		w.must(w.backups.Progress(ctx, c))
		if i == 2 && c.ID != r.ID {
			w.must(w.backups.Cancel(ctx, &c.Request, "the volume moves"))
		}
	}
	w.must(w.backups.Release(ctx, w.popOf(box, w.create(box)), 0))
	w.create(box)
	return r
}

// popOf claims a request. Its mailbox must have no other pending request.
func (w *world) popOf(mailbox string, r *pending.Request[backup]) *pending.Claim[backup] {
	w.Helper()
	c := w.pop(mailbox)
	if c.ID != r.ID {
		w.Fatalf("claimed %s, want %s", c.ID, r.ID)
	}
	return c
}

// TestPictures makes the pictures of the README.
func TestPictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("-pictures names no folder")
	}
	w := open(t)
	r := w.scene()
	shoot := func(name, path string, view ...chromedp.Action) {
		w.run(view...)
		w.visit(path)
		w.until("document.getElementById('state').textContent === 'Live'")
		var image []byte
		w.run(chromedp.CaptureScreenshot(&image))
		w.must(os.WriteFile(filepath.Join(*pictures, name), image, 0o644))
	}
	desk := chromedp.EmulateViewport(1160, 760)
	mailbox := "mailbox?store=backup&name=edge-45.fra.example"
	shoot("dashboard-overview.png", "", desk)
	shoot("dashboard-request-dark.png", pageOf(r), dark(), chromedp.EmulateViewport(1160, 900))
	shoot("dashboard-mailbox.png", mailbox, light(), desk)
	shoot("dashboard-phone.png", mailbox, phone())
}
