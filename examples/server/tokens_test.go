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
		if want := (skillshttp.Requester{UserID: tc.user, Role: tc.role}); got != want || err != tc.err {
			t.Errorf("%q for %s: got %+v, %v, want %+v", tc.authorization, tc.runtime, got, err, want)
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
		{laptopToken, "gone", false, nil}, // whether it is gone is not theirs to know
		{goneToken, "gone", false, skillshttp.ErrRuntimeGone},
		{adasToken, "laptop", false, nil},
		{"", "", false, skillshttp.ErrUnauthenticated},
	} {
		if allowed, err := a.Daemon(from("Bearer "+tc.token), tc.runtime); allowed != tc.allowed || !errors.Is(err, tc.err) {
			t.Errorf("%q for %q: got %v, %v, want %v, %v", tc.token, tc.runtime, allowed, err, tc.allowed, tc.err)
		}
	}
}

func TestTokensFilesThatAreRefused(t *testing.T) {
	const long = "0123456789abcdef"
	for text, says := range map[string]string{
		"":                                  "knows nobody",
		"people: 7":                         "not a tokens file",
		"persons: []":                       "field persons not found",
		"people: [" + long + "]":            "cannot unmarshal",
		"people: [{user: a, token: short}]": "people, entry 1: its token has fewer than 16",
		"people: [{user: a}]":               "fewer than 16",
		"people: [{token: " + long + "}]":   "it has no user",
		"daemons: [{token: " + long + "}]":  "it has no runtime",
		"people: [{user: a, sha256: 12}]":   "not 64 hex digits",
		"people: [{user: a, sha256: 12, token: " + long + "}]":                                   "both",
		"people: [{user: a, token: " + long + ", runtimes: {x: king}}]":                          "king",
		"people: [{user: a, token: " + long + "}]\ndaemons: [{runtime: r, token: " + long + "}]": "daemons, entry 1: its token is somebody else's too",
	} {
		_, err := readTokens(writeTokens(t, text))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s:\ngot %v, want %q", text, err, says)
		}
		if err != nil && strings.Contains(err.Error(), long[:6]) {
			t.Errorf("the error gives a token away: %v", err)
		}
	}
}

func TestJSONWillDo(t *testing.T) {
	a, err := readTokens(writeTokens(t, `{"daemons": [{"runtime": "laptop", "token": "`+laptopToken+`"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if allowed, err := a.Daemon(from("Bearer "+laptopToken), "laptop"); !allowed || err != nil {
		t.Errorf("got %v, %v", allowed, err)
	}
}
