package memory_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

func Example() {
	ctx := context.Background()
	greetings, err := pending.New(memory.New(), codec.JSON[string](), pending.Policy{
		Name: "greeting", PendingTimeout: time.Minute, RunningTimeout: time.Minute,
		Retention: time.Minute})
	if err != nil {
		panic(err)
	}
	asked, err := greetings.Create(ctx, "device-7", "hello")
	if err != nil {
		panic(err)
	}
	claim, err := greetings.PopPending(ctx, "device-7")
	if err != nil {
		panic(err)
	}
	claim.Payload += ", world"
	if err := greetings.Complete(ctx, claim); err != nil {
		panic(err)
	}
	answer, err := greetings.Get(ctx, asked.ID)
	if err != nil {
		panic(err)
	}
	fmt.Println(answer.Status, answer.Payload)
	// Output: completed hello, world
}

// TestAnUnansweredQuestionTimesOut shows how to test an application: in a bubble of
// testing/synctest an hour passes at once.
func TestAnUnansweredQuestionTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		greetings, err := pending.New(memory.New(), codec.JSON[string](), pending.Policy{
			Name: "greeting", PendingTimeout: time.Hour, RunningTimeout: time.Minute,
			Retention: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		asked, err := greetings.Create(t.Context(), "device-7", "hello")
		if err != nil {
			t.Fatal(err)
		}
		answer, err := greetings.Await(t.Context(), asked.ID) // nobody claims it
		if err != nil || answer.Status != pending.StatusTimeout {
			t.Errorf("got %v, %v; want a timeout", answer, err)
		}
		if took := time.Since(start).Round(time.Second); took != time.Hour {
			t.Errorf("the timeout came after %v, want an hour", took)
		}
	})
}
