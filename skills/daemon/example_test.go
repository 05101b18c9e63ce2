package daemon_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/daemon"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// everyone accepts each daemon as the runtime that it names. A product checks a token.
type everyone struct{}

func (everyone) Requester(*http.Request, string) (skillshttp.Requester, error) {
	return skillshttp.Requester{UserID: "ada", Role: skillshttp.RoleOwner}, nil
}

func (everyone) Daemon(*http.Request, string) (bool, error) { return true, nil }

// noLibrary refuses all imports. A product saves skills in its database.
type noLibrary struct{}

func (noLibrary) Save(context.Context, skillshttp.Save) (skills.Skill, error) {
	return skills.Skill{}, skillshttp.ErrRefused
}

func (noLibrary) TakeBack(context.Context, string) error { return nil }

// A runtime runs a daemon, which polls an API node and answers a ping.
func Example() {
	stores, err := skills.New(memory.New())
	if err != nil {
		panic(err)
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	handler, err := skillshttp.New(skillshttp.Config{
		Stores: stores, Access: everyone{}, Library: noLibrary{}, Logger: quiet})
	if err != nil {
		panic(err)
	}
	node := httptest.NewServer(handler)
	defer node.Close()

	d, err := daemon.New(daemon.Config{
		Server:    node.URL,
		RuntimeID: "laptop",
		Handlers: daemon.Handlers{
			Ping: func(context.Context) (string, error) { return "up", nil },
		},
		Client: node.Client(),
		Logger: quiet,
	})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- d.Run(ctx) }()

	asked, err := stores.Pings.Create(ctx, "laptop", skills.Ping{})
	if err != nil {
		panic(err)
	}
	answer, err := stores.Pings.Await(ctx, asked.ID)
	if err != nil {
		panic(err)
	}
	fmt.Println(answer.Status, answer.Payload.Output)
	stop()
	fmt.Println(<-stopped)
	// Output:
	// completed up
	// <nil>
}
