# The commands that CONTRIBUTING.md names. `make` is what to run before a pull request.
.PHONY: check test race lint proof fuzz vulnerabilities bench

# Versions of the tools that the targets run.
LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
VULN := golang.org/x/vuln/cmd/govulncheck@v1.9.0
MODULES = $(shell go list -m -f '{{.Dir}}')

check: lint test

test: ; go test ./...

race: ; go test -race -timeout 20m work

lint: ; go vet work && go run $(LINT) run

proof: ; go test -timeout 30m ./proof/...

fuzz: ; go test ./codec -run '^$$' -fuzz FuzzMsgpack -fuzztime 1m

vulnerabilities: ; for dir in $(MODULES); do (cd $$dir && go run $(VULN) ./...) || exit; done

bench: ; go test -run '^$$' -bench . -benchtime 1x ./bench/...
