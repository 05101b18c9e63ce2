package dashboard_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/pending/dashboard"
)

type reboot struct{ Reason, Token string }

func ExampleNew() {
	backend := dashboard.Observe(memory.New())
	policy := pending.Policy{Name: "reboot", PendingTimeout: time.Minute,
		RunningTimeout: time.Minute, Retention: time.Minute}
	reboots, err := pending.New(backend, codec.JSON[reboot](), policy)
	if err != nil {
		panic(err)
	}
	d, err := dashboard.New(backend, dashboard.Config{
		Stores: []dashboard.Store{{Policy: policy,
			Payload: dashboard.Show(reboots, func(r reboot) any { return r.Reason })}},
		Access: func(r *http.Request, action dashboard.Action, _, _ string) (string, bool) {
			user, _, _ := r.BasicAuth() // the server has checked the password
			return user, action != dashboard.Cancel || user == "admin"
		},
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/pendingq/", d)

	asked, err := reboots.Create(context.Background(), "device-7", reboot{"update", "secret"})
	if err != nil {
		panic(err)
	}
	page := httptest.NewRecorder()
	mux.ServeHTTP(page, httptest.NewRequest("GET",
		"/pendingq/request?store=reboot&id="+asked.ID, nil))
	text := page.Body.String()
	fmt.Println(page.Code, strings.Contains(text, "update"), strings.Contains(text, "secret"))
	// Output: 200 true false
}
