package main

import (
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/pending/dashboard"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// newPages makes the dashboard of all stores. It hides the payloads of the five stores for skills,
// since they are private.
func newPages(b backends.Backend, o options, p skills.Policies, a *access, logger *slog.Logger) (
	*dashboard.Dashboard, error) {
	c := dashboard.Config{Access: a.operator, Logger: logger}
	for _, policy := range o.stores {
		store, err := pending.New(b, codec.JSON[json.RawMessage](), policy)
		if err != nil {
			return nil, err
		}
		c.Stores = append(c.Stores,
			dashboard.Store{Policy: policy, Payload: dashboard.Show(store, nil)})
	}
	for _, policy := range []pending.Policy{p.Lists, p.Imports, p.Pings, p.Updates, p.ModelLists} {
		c.Stores = append(c.Stores, dashboard.Store{Policy: policy})
	}
	return dashboard.New(b, c)
}

// operator implements [dashboard.Access]. Owners and admins of a runtime see its mailbox.
func (a *access) operator(r *http.Request, _ dashboard.Action, _, mailbox string) (string, bool) {
	p, known := a.people[sent(r)]
	if mailbox != "" {
		who, err := a.Requester(r, mailbox)
		return who.UserID, err == nil && who.Role >= skillshttp.RoleAdmin
	}
	for _, of := range p.Runtimes {
		if known && skillshttp.Role(of) >= skillshttp.RoleAdmin {
			return p.User, true
		}
	}
	return p.User, false
}

// signIn accepts a token as the password of HTTP Basic authentication, for browsers. The other
// routes do not accept a password, because a browser also sends it with requests that another site
// makes.
func (a *access) signIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, ok := r.BasicAuth(); ok {
			r = r.Clone(r.Context())
			r.Header.Set("Authorization", "Bearer "+password)
		}
		if _, known := a.people[sent(r)]; !known {
			w.Header().Set("WWW-Authenticate", `Basic realm="pendingq: the password is your token"`)
			http.Error(w, "Sign in with your token as the password.", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
