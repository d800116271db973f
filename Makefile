# Anteroom. `make` alone lists what there is.
# Needs Go, make, and for the suites apt and npm. What is built or fetched to
# test with goes to .cache/ and test/npm/node_modules/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build demo run image packages test unit real chart published lint fmt fuzz soak bench reference setup clean

ARGS ?=
FUZZTIME ?= 30s
OURS := $(wildcard *.go) demo integrations proxy session test
section = @printf '\n── %s ──\n' '$(1)'

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build ./anteroom
	@go build -trimpath -o anteroom .

demo: build ## everything on loopback, http://localhost:8000; ARGS="--provider nextcloud" for the built-in OAuth2
	@./anteroom demo $(ARGS)

run: build ## serve with ./config.yaml and the environment; ARGS are passed on
	@./anteroom $(ARGS)

image: ## build the container image, with docker or buildah; VERSION, IMAGE, ARGS for the build
	@deploy/packages/image $(ARGS)

packages: .cache/bin/nfpm .cache/bin/cyclonedx-gomod ## build deb, rpm and tar.gz into .cache/packages; VERSION, SIGNING_KEY_FILE
	@deploy/packages/build

test: setup lint unit real chart published ## all there is to check: installs what it needs, lint, unit, real, chart, published
	@printf '\nall checks passed\n'

unit: ## hermetic tests, race detector on, in random order
	$(call section,unit tests)
	@go test -race -vet=off -shuffle=on ./... # vetted by lint

# Tests that say they are parallel wait more than they compute: more of them than cores.
real: setup ## suites against real providers, a real application and a real browser; ARGS="-run TestPanva -v"
	$(call section,suites against real servers)
	@go test -tags real -vet=off -count=1 -timeout 40m -parallel 8 $(ARGS) ./test/real ./test/docs

chart: setup ## the Helm chart against Helm, kubeconform, kube-score and a kube-apiserver; ARGS=-update writes what is made of it
	$(call section,Helm chart)
	@go test -tags real -vet=off -count=1 -timeout 10m ./test/chart $(ARGS)

published: setup ## what is published: built, looked at, installed, run and removed; needs root
	$(call section,what is published)
	@go test -tags real -vet=off -count=1 -timeout 30m $(ARGS) ./test/package

# Left out of gosec: errors that nobody can do anything about (G104: staticcheck
# and review look at those), files that the operator names (G304, G703). demo is a
# pretend Nextcloud on loopback.
GOSEC := -quiet -exclude-generated -exclude-dir=demo -exclude-dir=test -exclude=G104,G304,G703

lint: .cache/bin/staticcheck .cache/bin/gosec .cache/bin/govulncheck ## vet, gofmt, staticcheck, gosec; govulncheck where its database can be reached
	$(call section,lint)
	@unformatted=$$(gofmt -l $(OURS)); test -z "$$unformatted" || { printf 'not formatted (make fmt):\n%s\n' "$$unformatted"; exit 1; }
	@go vet ./... && go vet -tags real ./test/real ./test/package ./test/docs ./test/chart && go -C test/zitadel vet .
	@.cache/bin/staticcheck -tags real ./...
	@.cache/bin/gosec $(GOSEC) ./...
	@out=$$(.cache/bin/govulncheck ./... 2>&1) || case "$$out" in \
		*'fetching vulnerabilities'*) echo 'govulncheck: its database cannot be reached, so nothing is said of known holes' ;; \
		*) printf '%s\n' "$$out"; exit 1 ;; esac
	@echo ok

fmt: ## format every Go file
	@gofmt -w $(OURS)

fuzz: ## every fuzz target for FUZZTIME (30s)
	@grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | while IFS=: read -r file target; do \
		printf '\n── %s %s ──\n' "$$(dirname "$$file")" "$${target#func }"; \
		go test -run '^$$' -fuzz "^$${target#func }$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x "$$(dirname "$$file")" || exit 1; \
	done

soak: setup ## replicas under a moderate load for half an hour: nothing may grow; SOAK=5m for less
	@SOAK=$(or $(SOAK),30m) go test -tags real -vet=off -count=1 -timeout 3h -v -run '^TestSoak$$' ./test/real | grep -E '^ *(soak_test|fleet_test|---|ok|FAIL|PASS)'

bench: setup build ## measure against bare net/http and a bare ReverseProxy; prints one table
	@go run ./test/bench ./anteroom
	@go test -run '^$$' -bench . -benchmem . ./proxy/authz ./proxy/upstream ./proxy/dav ./session ./integrations/files | grep -E '^(Benchmark|ok)'

reference: ## write docs/configuration.md and the keys in the Helm chart's schema anew, from the program
	@go test -count=1 -run '^TestReferenceIsUpToDate$$' -update-reference . >/dev/null && echo docs/configuration.md
	@go test -count=1 -run '^TestChartKnowsEveryKey$$' -update-chart . >/dev/null && echo charts/anteroom/values.schema.json

setup: ## install what the suites need: Debian packages and npm packages, pinned
	$(call section,setup)
	@test/setup

clean: ## remove what was built
	@rm -rf anteroom .cache test/out test/npm/node_modules

.cache/bin/staticcheck .cache/bin/gosec .cache/bin/govulncheck: test/tools/go.mod test/tools/go.sum
	@mkdir -p .cache/bin && go -C test/tools build -o ../../.cache/bin/ $(tool.$(notdir $@))

tool.staticcheck := honnef.co/go/tools/cmd/staticcheck
tool.gosec := github.com/securego/gosec/v2/cmd/gosec
tool.govulncheck := golang.org/x/vuln/cmd/govulncheck

.cache/bin/nfpm: test/tools/nfpm/go.mod test/tools/nfpm/go.sum
	@go -C $(<D) build -trimpath -o ../../../$@ github.com/goreleaser/nfpm/v2/cmd/nfpm

.cache/bin/cyclonedx-gomod: test/tools/cyclonedx-gomod/go.mod test/tools/cyclonedx-gomod/go.sum
	@go -C $(<D) build -trimpath -o ../../../$@ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
