// Package calls records and builds operations on a backend, for the tests of whole systems. A
// [Call] is an operation with its reply. A [Store] builds operations. The shape of a reply is its
// content without absolute times, so it can be compared.
//
//	var retried = calls.Retried()
//
//	s := &calls.Stage{T: t, B: backend}
//	id := s.Running(retried, "1")
//	s.Must(retried.Releasing(id, 0))
package calls
