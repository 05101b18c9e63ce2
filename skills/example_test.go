package skills_test

import (
	"context"
	"fmt"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/skills"
)

// A front end pings a runtime. The runtime's next heartbeat claims the ping. Its report ends the
// request.
func Example() {
	ctx := context.Background()
	stores, err := skills.New(memory.New())
	if err != nil {
		panic(err)
	}
	asked, err := stores.Pings.Create(ctx, "laptop", skills.Ping{})
	if err != nil {
		panic(err)
	}

	work, err := stores.Heartbeat(ctx, "laptop") // one round trip for all five stores
	if err != nil {
		panic(err)
	}
	id, attempt := work.Ping.ID, work.Ping.Attempt // the runtime's report repeats them

	claim, err := stores.Pings.Held(ctx, id, attempt)
	if err != nil {
		panic(err)
	}
	claim.Payload.Output = "up"
	if err := stores.Pings.Complete(ctx, claim); err != nil {
		panic(err)
	}
	answer, err := stores.Pings.Get(ctx, asked.ID)
	if err != nil {
		panic(err)
	}
	fmt.Println(answer.Status, answer.Payload.Output)
	// Output: completed up
}
