package browsertest

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/pendingq/pendingq/pending"
)

func TestLinksLeadFromTheOverviewToARequestAndBack(t *testing.T) {
	w := open(t)
	r := w.create("device-7")
	w.visit("")
	w.follow("device-7", "device-7")
	w.follow(r.ID, r.ID)
	w.says("Nobody yet: it waits for a worker to claim it.")
	w.says("(hidden)")
	text := value[string](w, "document.documentElement.outerHTML")
	if strings.Contains(text, "hunter2") {
		t.Error("the page shows the secret")
	}
	w.follow("device-7", "device-7")
	w.follow("pendingq", "Overview")
	w.follow("reboot", "Overview")
	w.says("Nothing is pending and nothing runs.")
}

func TestSearchFindsAMailboxAndARequest(t *testing.T) {
	w := open(t)
	r := w.create("device-7")
	w.visit("")
	w.run(chromedp.SendKeys("#q", "device-7"+kb.Enter, chromedp.ByQuery))
	w.says("The live requests of mailbox")
	w.run(chromedp.SetValue("#q", r.ID, chromedp.ByQuery),
		chromedp.SendKeys("#q", kb.Enter, chromedp.ByQuery))
	w.says("Timeline")
}

func TestPagesAreLive(t *testing.T) {
	w := open(t)
	w.visit("")
	w.until("document.getElementById('state').textContent === 'Live'")
	r := w.create("device-7")
	w.says("device-7")

	w.visit(pageOf(r))
	w.run(chromedp.Evaluate("window.sameDocument = true", nil))
	w.says("Nobody yet")
	c := w.pop("device-7")
	w.says("A worker of this mailbox holds it")
	c.Payload.Copied = "3 of 5 GiB"
	w.must(w.backups.Progress(context.Background(), c))
	w.says("3 of 5 GiB")
	w.must(w.backups.Complete(context.Background(), c))
	w.says("completed")
	w.says("Ended: nothing changes any more")
	if !value[bool](w, "window.sameDocument === true") {
		t.Error("the page was loaded anew")
	}
}

// The first update of a page finds a person who may already click or type.
func TestTheFirstUpdateReplacesNoElement(t *testing.T) {
	w := open(t, chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(`
			addEventListener("DOMContentLoaded", () => {
				for (const e of document.querySelectorAll("main *")) e.isFirst = true;
			})`).Do(ctx)
		return err
	}))
	r := w.create("device-7")
	w.create("device-8")
	for _, path := range []string{"", "mailbox?store=backup&name=device-7", pageOf(r)} {
		w.visit(path)
		w.until("document.getElementById('state').textContent === 'Live'")
		const replaced = "[...document.querySelectorAll('main *')].filter((e) => !e.isFirst)"
		if got := value[string](w, replaced+".map((e) => e.outerHTML).join()"); got != "" {
			t.Errorf("%q: the first update has replaced %.500s", path, got)
		}
	}
}

// A browser gives up an event stream after a status other than 200. In this test the page's timers
// are 100 times as fast.
func TestAPageIsLiveAgainAfterABusyServer(t *testing.T) {
	w := open(t, chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(`{
			const real = window.setTimeout;
			window.setTimeout = (f, ms) => real(f, ms / 100);
		}`).Do(ctx)
		return err
	}))
	w.visit("")
	w.until("document.getElementById('state').textContent === 'Live'")
	w.busy.Store(true)
	w.drop()
	w.until("document.getElementById('state').textContent.startsWith('Not live')")
	w.busy.Store(false)
	w.until("document.getElementById('state').textContent === 'Live'")
	w.create("device-7")
	w.says("device-7")
	w.forgive()
}

func TestAPageNoticesADeadConnection(t *testing.T) {
	w := open(t)
	w.visit("")
	w.until("document.getElementById('state').textContent === 'Live'")
	w.mute.Store(true)
	w.until("document.getElementById('state').textContent.startsWith('Connection lost')")
	w.mute.Store(false)
	w.until("document.getElementById('state').textContent === 'Live'")
}

// Over HTTP/1.1 a browser keeps six connections to a server.
func TestATabInTheBackgroundTakesNoConnection(t *testing.T) {
	w := open(t)
	w.visit("")
	for range 8 {
		tab, endTab := chromedp.NewContext(w.tab)
		t.Cleanup(endTab)
		before := w.tab
		w.must(chromedp.Run(tab))
		w.tab = tab
		w.run(page.BringToFront())
		w.visit("")
		w.until("document.getElementById('state').textContent === 'Live'")
		w.tab = before
	}
	w.run(page.BringToFront())
	w.until("document.getElementById('state').textContent === 'Live'")
}

func TestAPageThatHasEndedStaysSo(t *testing.T) {
	w := open(t)
	r := w.create("device-7")
	w.must(w.backups.Complete(context.Background(), w.pop("device-7")))
	w.visit(pageOf(r))
	w.says("Ended: nothing changes any more")
	w.run(chromedp.Evaluate(`
		new MutationObserver(() => window.said = state.textContent).observe(state,
			{ childList: true, characterData: true, subtree: true });
		window.turns = 0;
		document.addEventListener("visibilitychange", () => window.turns++);`, nil))
	other, endOther := chromedp.NewContext(w.tab)
	defer endOther()
	w.must(chromedp.Run(other, page.BringToFront()))
	w.until("window.turns === 1")
	w.run(page.BringToFront())
	w.until("window.turns === 2")
	if said := value[string](w, "window.said ?? ''"); said != "" {
		t.Errorf("after the tab was in the background it says %q", said)
	}
}

func TestALiveUpdateKeepsTheFocusAndMovesNothing(t *testing.T) {
	w := open(t)
	first := w.create("device-7")
	w.visit("mailbox?store=backup&name=device-7")
	w.until("document.getElementById('state').textContent === 'Live'")
	w.run(chromedp.Focus("tbody a", chromedp.ByQuery), chromedp.Evaluate(`
		window.shift = 0;
		new PerformanceObserver((list) => {
			for (const entry of list.getEntries()) window.shift += entry.value;
		}).observe({ type: "layout-shift", buffered: true });
		window.firstTick = document.querySelector("tbody time").textContent;`, nil))
	w.until("document.querySelector('tbody time').textContent !== window.firstTick")
	second := w.create("device-7")
	w.says(second.ID)
	if got := value[string](w, "document.activeElement.textContent"); got != first.ID {
		t.Errorf("the focus is on %q, want %q", got, first.ID)
	}
	if shift := value[float64](w, "window.shift"); shift > 0.01 {
		t.Errorf("the layout has shifted by %v", shift)
	}
}

func TestACancelAsksForAReasonAndLeavesALine(t *testing.T) {
	w := open(t)
	r := w.create("device-7")
	w.visit(pageOf(r))
	w.follow("Cancel this request", "Cancel this request?")
	w.run(chromedp.Click("button.danger", chromedp.ByQuery))
	if !value[bool](w, "document.querySelector('#reason:invalid') !== null") {
		t.Error("a cancel without a reason is sent")
	}
	w.run(chromedp.SendKeys("#reason", "wrong device", chromedp.ByQuery),
		chromedp.Click("button.danger", chromedp.ByQuery))
	w.says("Why it ended")
	w.says("wrong device")
	for _, want := range []string{"dashboard: cancel", "who=alice", r.ID, "wrong device"} {
		if !strings.Contains(w.log.text(), want) {
			t.Errorf("the log lacks %q: %s", want, w.log.text())
		}
	}
}

func TestEverythingWorksWithoutJavaScript(t *testing.T) {
	w := open(t, emulation.SetScriptExecutionDisabled(true))
	r := w.create("device-7")
	w.visit("")
	w.says("Not live without JavaScript")
	w.follow("device-7", "device-7")
	w.follow(r.ID, r.ID)
	w.follow("Cancel this request", "Cancel this request?")
	w.run(chromedp.SendKeys("#reason", "by hand", chromedp.ByQuery),
		chromedp.Click("button.danger", chromedp.ByQuery))
	w.says("by hand")
	now, err := w.backups.Get(context.Background(), r.ID)
	w.must(err)
	if now.Status != pending.StatusCancelled {
		t.Errorf("the request is %s", now.Status)
	}
}

func TestNamesPayloadsAndErrorsAreNeverMarkup(t *testing.T) {
	w := open(t)
	ctx := context.Background()
	for _, evil := range []string{
		`<script>window.pwned = 1; alert(1)</script>`,
		`"><img src=x onerror="window.pwned = 1">`,
		`'};window.pwned=1;//</title><svg onload=alert(1)>`,
		`javascript:alert(1)`,
	} {
		r, err := w.backups.Create(ctx, evil, backup{Volume: evil, Target: evil},
			pending.WithHeaders(map[string]string{evil: evil}))
		w.must(err)
		w.visit("")
		w.says(evil)
		w.follow(evil, evil)
		w.follow(r.ID, r.ID)
		c := w.pop(evil)
		c.Payload.Copied = evil
		w.says("A worker of this mailbox holds it") // a live update
		w.must(w.backups.Fail(ctx, c, evil))
		w.says("Ended: nothing changes any more")
		w.run(chromedp.SetValue("#q", evil, chromedp.ByQuery),
			chromedp.SendKeys("#q", kb.Enter, chromedp.ByQuery))
		w.says("No request or mailbox that you may see matches")
		if value[bool](w, `"pwned" in window ||
			document.querySelector("main img, main svg, main script") !== null`) {
			t.Errorf("%s is markup", evil)
		}
	}
}

// If a page has a fault, the policy still stops its scripts.
func TestThePolicyStopsAnInlineScript(t *testing.T) {
	w := open(t)
	w.visit("search")
	w.run(log.Disable(), chromedp.Evaluate(`
		const script = document.createElement("script");
		script.textContent = "window.pwned = 1";
		document.body.append(script);
		document.body.insertAdjacentHTML("beforeend",
			"<img src=x onerror='window.pwned = 2'>");
		document.querySelector("img[onerror]").addEventListener(
			"error", () => { window.failed = true; });`, nil))
	w.until("window.failed") // the img's own handler comes first
	if value[bool](w, "'pwned' in window") {
		t.Error("an inline script ran")
	}
}

func TestTheKeyboardReachesEverything(t *testing.T) {
	w := open(t)
	r := w.create("device-7")
	w.visit(pageOf(r))
	w.until("document.getElementById('state').textContent === 'Live'")
	want := value[int](w, "document.querySelectorAll('a, button, input, pre[tabindex]').length")
	seen := map[string]bool{}
	for range want {
		w.run(chromedp.KeyEvent(kb.Tab))
		focused := value[string](w, "document.activeElement.outerHTML")
		seen[focused] = true
		if !value[bool](w, `document.activeElement.matches(":focus-visible") &&
			getComputedStyle(document.activeElement).outlineStyle !== "none"`) {
			t.Errorf("the focus does not show on %s", focused)
		}
	}
	if len(seen) != want {
		t.Errorf("tab reaches %d of %d elements", len(seen), want)
	}
	w.visit("")
	w.run(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	w.until("document.activeElement.id === 'main'")
}

func TestAPhoneNeedsNoSidewaysScroll(t *testing.T) {
	w := open(t, phone())
	for _, path := range w.everyPage() {
		w.visit(path)
		wide := value[int](w, "document.documentElement.scrollWidth - window.innerWidth")
		if wide > 0 {
			t.Errorf("/%s is %d pixels too wide", path, wide)
		}
		small := value[string](w, `[...document.querySelectorAll("button, .button, header input")]
			.filter((e) => e.getBoundingClientRect().height < 24).map((e) => e.outerHTML).join()`)
		if small != "" {
			t.Errorf("/%s: too small for a finger: %s", path, small)
		}
		w.forgive()
	}
}

// forgive drops the browser's complaint about a page that fails on purpose.
func (w *world) forgive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noise = nil
}

func TestDarkModeIsDark(t *testing.T) {
	w := open(t, dark())
	w.visit("")
	got := value[string](w, "getComputedStyle(document.body).backgroundColor")
	if got != "rgb(16, 17, 20)" {
		t.Errorf("the background is %s", got)
	}
}
