// Package calls has what the tests of whole systems share: an operation on a backend as its caller
// saw it, short builders of operations, and the shape of an answer, which is the same whenever the
// operation happens.
//
//	var retried = calls.Retried()
//
//	s := &calls.Stage{T: t, B: backend}
//	id := s.Running(retried, "1")
//	s.Must(retried.Releasing(id, 0))
package calls
