package matrix_test

import "github.com/pendingq/pendingq/internal/calls"

// scenario is one of calls.Scenarios.
type scenario struct {
	name    string
	arrange func(s *calls.Stage) any
}

var scenarios = allScenarios()

func allScenarios() (all []scenario) {
	for _, s := range calls.Scenarios {
		all = append(all, scenario{s.Name, s.Arrange})
	}
	return all
}
