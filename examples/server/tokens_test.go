package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pendingq/pendingq/skills/skillshttp"
)

const (
	adasToken   = "ada-0123456789abcdef"
	bobsToken   = "bob-0123456789abcdef"
	carolsToken = "carol-0123456789abcdef"
	laptopToken = "laptop-0123456789abcdef"
	goneToken   = "gone-0123456789abcdef"

	// A script that hashes an unset variable writes this.
	emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

var someTokens = `
people:
  - user: ada
    token: ` + adasToken + `
    runtimes: {laptop: owner, "*": member}
  - user: bob
    sha256: ` + fmt.Sprintf("%x", sha256.Sum256([]byte(bobsToken))) + `
    runtimes: {laptop: admin}
  - user: carol
    token: ` + carolsToken + `
    runtimes: {laptop: member}
daemons:
  - {runtime: laptop, token: ` + laptopToken + `}
  - {runtime: gone, token: ` + goneToken + `}
deleted_runtimes: [gone]
`

func writeTokens(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func from(authorization string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", authorization)
	return r
}

func TestWhoMayDoWhat(t *testing.T) {
	a, err := readTokens(writeTokens(t, someTokens))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		authorization, runtime, user string
		role                         skillshttp.Role
		err                          error
	}{
		{"Bearer " + adasToken, "laptop", "ada", skillshttp.RoleOwner, nil},
		{"bearer  " + adasToken, "phone", "ada", skillshttp.RoleMember, nil},
		{"Bearer " + bobsToken, "laptop", "bob", skillshttp.RoleAdmin, nil},
		{"Bearer " + bobsToken, "phone", "bob", skillshttp.RoleNone, nil},
		{"Bearer " + adasToken, "gone", "", skillshttp.RoleNone, nil},
		{"Bearer " + laptopToken, "laptop", "", skillshttp.RoleNone, nil},
		{"Basic " + adasToken, "laptop", "", skillshttp.RoleNone, skillshttp.ErrUnauthenticated},
		{"Bearer ", "laptop", "", skillshttp.RoleNone, skillshttp.ErrUnauthenticated},
		{"Bearer wrong", "laptop", "", skillshttp.RoleNone, skillshttp.ErrUnauthenticated},
		{"", "laptop", "", skillshttp.RoleNone, skillshttp.ErrUnauthenticated},
	} {
		got, err := a.Requester(from(tc.authorization), tc.runtime)
		want := skillshttp.Requester{UserID: tc.user, Role: tc.role}
		if got != want || err != tc.err {
			t.Errorf("%q for %s: got %+v, %v, want %+v, %v",
				tc.authorization, tc.runtime, got, err, want, tc.err)
		}
	}
}

func TestDaemonsSpeakForTheirOwnRuntime(t *testing.T) {
	a, err := readTokens(writeTokens(t, someTokens))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		token, runtime string
		allowed        bool
		err            error
	}{
		{laptopToken, "laptop", true, nil},
		{laptopToken, "phone", false, nil},
		{laptopToken, "gone", false, nil}, // this daemon may not learn that gone is deleted
		{goneToken, "gone", false, skillshttp.ErrRuntimeGone},
		{adasToken, "laptop", false, nil},
		{"", "", false, skillshttp.ErrUnauthenticated},
	} {
		allowed, err := a.Daemon(from("Bearer "+tc.token), tc.runtime)
		if allowed != tc.allowed || !errors.Is(err, tc.err) {
			t.Errorf("%q for %q: got %v, %v, want %v, %v",
				tc.token, tc.runtime, allowed, err, tc.allowed, tc.err)
		}
	}
}

func TestTokensFilesThatAreRefused(t *testing.T) {
	const long = "0123456789abcdef"
	const ada, r = "user: a, token: " + long, "runtime: r, token: " + long
	for text, says := range map[string]string{
		"daemons: [{runtime: r, token:" + long + "}]":   "line 1: a field",
		"daemons: [{runtime: r, token: *" + long + "}]": "not valid YAML",
		"daemons: [{" + r + ", token: x}]":              "line 1: a field",

		"people: [{" + ada + ", runtimes: {" + long + ": owner, " + long + ": owner}}]": "line 1",

		"people: [{" + ada + ", runtimes: {x: " + long + "}":   "not valid YAML",
		"people: [{" + ada + ", runtimes: {x: " + long + "}}]": "line 1: a role",

		"":                                  "has no tokens",
		"people: 7":                         "not a tokens file",
		"\npersons: []":                     "line 2: a field is unknown, is repeated or",
		"people: [" + long + "]":            "line 1: a field",
		"people: [{user: a, token: short}]": "people, entry 1: its token has fewer than 16",
		"people: [{user: a}]":               "fewer than 16",
		"daemons: []\n---\npeople: []":      "more than one document",
		"people: [{user: a, token: '" + long + " '}]":      "white space",
		"people: [{token: " + long + "}]":                  "it has no user",
		"daemons: [{token: " + long + "}]":                 "it has no runtime",
		"people: [{user: a, sha256: 12}]":                  "not 64 hex digits",
		"people: [{user: a, sha256: " + emptySHA256 + "}]": "the sha256 of an empty token",

		"people: [{" + ada + ", sha256: 12}]":                     "both",
		"people: [{" + ada + ", runtimes: {x: king}}]":            "line 1: a role is none",
		"people: [{" + ada + "}]\ndaemons: [{" + r + "}]":         "daemons, entry 1: another",
		"people: [{" + ada + "}, {user: b, token: " + long + "}]": "people, entry 2: another",
	} {
		_, err := readTokens(writeTokens(t, text))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s:\ngot %v, want %q", text, err, says)
		}
		if err != nil && strings.Contains(err.Error(), long[:6]) {
			t.Errorf("the error contains a token: %v", err)
		}
	}
}

func TestATokensFileMayBeJSON(t *testing.T) {
	text := `{"daemons": [{"runtime": "laptop", "token": "` + laptopToken + `"}]}`
	a, err := readTokens(writeTokens(t, text))
	if err != nil {
		t.Fatal(err)
	}
	if allowed, err := a.Daemon(from("Bearer "+laptopToken), "laptop"); !allowed || err != nil {
		t.Errorf("got %v, %v", allowed, err)
	}
}
