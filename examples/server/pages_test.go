package main

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func newAnswer() *httptest.ResponseRecorder { return httptest.NewRecorder() }

// browse asks for a page with a token as the password.
func (n *node) browse(token, method, path string, form url.Values) (int, string) {
	n.Helper()
	r, err := http.NewRequestWithContext(n.Context(), method, n.url+path,
		strings.NewReader(form.Encode()))
	if err != nil {
		n.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if form.Get("from") != "" {
		r.Header.Set("Sec-Fetch-Site", form.Get("from"))
	}
	if token != "" {
		r.SetBasicAuth("anybody", token)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		n.Fatal(err)
	}
	defer resp.Body.Close()
	var text strings.Builder
	if err := resp.Write(&text); err != nil {
		n.Fatal(err)
	}
	return resp.StatusCode, text.String()
}

// nextPage returns the link to the next page of the overview, which gathers for milliseconds only.
func nextPage(page string) string {
	before, _, _ := strings.Cut(page, `" rel="next"`)
	if before == page {
		return ""
	}
	return html.UnescapeString(before[strings.LastIndex(before, `href=".`)+len(`href=".`):])
}

// browsePages reads a page, and the pages after it until one says a text.
func (n *node) browsePages(token, path, says string) (status int, text string) {
	n.Helper()
	status, text = n.browse(token, "GET", path, nil)
	for page, next := text, ""; !strings.Contains(text, says); text += page {
		if next = nextPage(page); next == "" {
			break
		}
		_, page = n.browse(token, "GET", "/dashboard"+next, nil)
	}
	return status, text
}

func TestOwnersAndAdminsSeeTheDashboard(t *testing.T) {
	n := startNode(t, someOptions(t, "memory:"))
	_, made := n.send(adasToken, "POST", "/pending/requests?store=backup&mailbox=laptop",
		`{"payload": {"files": 7}}`)
	id, _ := made["id"].(string)
	request := "/dashboard/request?store=backup&id=" + id
	for _, tc := range []struct {
		token, path string
		status      int
		says        string
	}{
		{adasToken, "/dashboard/", 200, "laptop"},
		{adasToken, "/dashboard/?store=local_skill:import", 200, "Overview"},
		{adasToken, request, 200, "&#34;files&#34;: 7"},
		{"", "/dashboard/", 401, "Basic realm"},
		{"nobody's token, truly", "/dashboard/", 401, "Basic realm"},
		{laptopToken, "/dashboard/", 401, "Basic realm"},
		{bobsToken, request, 200, "pending"},
		{carolsToken, "/dashboard/", 404, ""},
		{carolsToken, request, 404, ""},
	} {
		status, text := n.browsePages(tc.token, tc.path, tc.says)
		if status != tc.status || !strings.Contains(text, tc.says) {
			t.Errorf("%.5s... %s: got %d %s, want %d with %q",
				tc.token, tc.path, status, text, tc.status, tc.says)
		}
	}
	cancel := url.Values{"store": {"backup"}, "id": {id}, "reason": {"wrong"}}
	cancel.Set("from", "cross-site")
	if status, text := n.browse(adasToken, "POST", "/dashboard/cancel", cancel); status != 403 {
		t.Errorf("a cancel from another site: got %d %s", status, text)
	}
	cancel.Set("from", "same-origin")
	if status, text := n.browse(adasToken, "POST", "/dashboard/cancel", cancel); status != 303 {
		t.Errorf("a cancel: got %d %s", status, text)
	}
	_, after := n.send(adasToken, "GET", "/pending/requests/"+id+"?store=backup", "")
	if after["status"] != "cancelled" || after["error"] != "wrong" {
		t.Errorf("got %v, want it cancelled", after)
	}
}

// A browser adds a password also to requests that another site makes. Only the dashboard refuses
// such requests.
func TestAPasswordOpensTheDashboardOnly(t *testing.T) {
	n := startNode(t, someOptions(t, "memory:"))
	status, text := n.browse(adasToken, "GET", "/pending/mailboxes?store=backup", nil)
	if status != http.StatusUnauthorized {
		t.Errorf("got %d %s, want 401", status, text)
	}
}
