package history

import (
	"fmt"
	"testing"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
)

// lossCase has two creates and two later reads. A read of a lost request does not find it.
type lossCase struct {
	name    string
	at      [2]int64 // when the requests were created
	lost    [2]bool
	fails   []FailOver
	allowed bool
}

func TestLossIsTheLastOfWhatWasDone(t *testing.T) {
	fails := []FailOver{{Safe: 1_000, Dead: 2_000, Over: 3_000}}
	for _, c := range []lossCase{
		{"no request", [2]int64{1_100, 1_200}, [2]bool{}, fails, true},
		{"both requests", [2]int64{1_100, 1_200}, [2]bool{true, true}, fails, true},
		{"the last", [2]int64{1_100, 1_200}, [2]bool{false, true}, fails, true},
		{"only the first", [2]int64{1_100, 1_200}, [2]bool{true, false}, fails, false},
		{"a safe request", [2]int64{900, 1_200}, [2]bool{true, true}, fails, false},
		{"a later request", [2]int64{1_100, 3_100}, [2]bool{false, true}, fails, false},
		{"one without a fail-over", [2]int64{1_100, 1_200}, [2]bool{false, true}, nil, false},
	} {
		all, lost := c.calls()
		h := New(all, c.fails...)
		h.CheckMailbox([]backends.Terms{calls.Lasting("s").Terms()})
		if err := h.Check(); (err == nil) != c.allowed {
			t.Errorf("%s is lost: got error %v, want allowed %v", c.name, err, c.allowed)
		}
		if got := h.losses[""].lost[created]; c.allowed && got != lost {
			t.Errorf("%s is lost: counted %d, want %d", c.name, got, lost)
		}
	}
}

func (c lossCase) calls() (all []*calls.Call, lost int) {
	for i, at := range c.at {
		op := calls.Lasting("s").Question(fmt.Sprint(i))
		create := &calls.Call{Op: op, Began: at - 1, Was: at + 1, Rec: newlyCreated(op, at, at)}
		read := &calls.Call{Op: calls.Get{Terms: op.Terms, ID: op.ID}, Began: 4_000, Was: 4_002,
			Rec: newlyCreated(op, at, 4_001)}
		if c.lost[i] {
			read.Rec, read.Err = backends.Record{}, backends.ErrNotFound
			lost++
		}
		all = append(all, create, read)
	}
	return all, lost
}
