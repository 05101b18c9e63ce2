package browsertest

import (
	_ "embed"
	"testing"

	"github.com/chromedp/chromedp"
)

//go:embed access.js
var access string

// access.js checks names, labels, landmarks, headings, ids and the contrast of all text, on each
// page in each of its states, light and dark.
func TestPagesAreAccessible(t *testing.T) {
	for name, before := range map[string][]chromedp.Action{
		"light": nil, "dark": {dark()}, "phone": {phone()}, "dark phone": {dark(), phone()},
	} {
		t.Run(name, func(t *testing.T) {
			w := open(t, before...)
			for _, path := range w.everyPage() {
				w.visit(path)
				for _, problem := range value[[]string](w, access) {
					t.Errorf("/%s: %s", path, problem)
				}
				w.forgive()
			}
		})
	}
}

// An accessibility check proves something only if it finds mistakes.
func TestTheAccessibilityCheckFindsMistakes(t *testing.T) {
	w := open(t)
	w.visit("")
	// In one script, since an update of the page removes the mistakes.
	got := value[[]string](w, `document.querySelector("main").insertAdjacentHTML("beforeend",
		"<h5>skips</h5><input><img src='./icon.svg'><a href='./'></a>" +
		"<p id='q' class='faint'>faint</p>");
		document.querySelector(".faint").style.color = "#999";`+access)
	if len(got) < 6 {
		t.Errorf("the check found only %q", got)
	}
}
