# The commands that CONTRIBUTING.md names. `make` is what to run before a pull request.
.PHONY: check test race lint proof fuzz vulnerabilities bench

VULN := golang.org/x/vuln/cmd/govulncheck@v1.9.0
MODULES = $(shell go list -m -f '{{.Dir}}')

check: lint test

test: ; go test ./...

race: ; go test -race -timeout 20m work

lint: ; bash .ci/lint

proof: ; go test -timeout 30m ./proof/...

fuzz: ; go test ./codec -run '^$$' -fuzz FuzzMsgpack -fuzztime 1m

vulnerabilities: ; for dir in $(MODULES); do (cd $$dir && go run $(VULN) ./...) || exit; done

bench: ; go test -run '^$$' -bench . -benchtime 1x ./bench/...
