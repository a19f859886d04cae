# `make` lists the targets. Everything runs from go.mod and .ci/tools.mod: only Go is
# needed.
.DEFAULT_GOAL := help
SHELL := /bin/bash

GO ?= go
LINT := $(GO) tool -modfile=.ci/tools.mod golangci-lint
BUF := $(GO) tool buf
# One way to build, so that what is built once is in the build cache for the rest. No
# C compiler is needed, and none of the C code that Pebble would bring is compiled.
# GOGC lets the compiler collect less often: a seventh less CPU for more memory.
BUILD := CGO_ENABLED=0 GOGC=$${GOGC:-400} $(GO) build -trimpath

.PHONY: help
help: ## List the targets.
	@grep -hE '^[a-z/-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: demo
demo: build ## Build, and run the main job end to end: every event type in by HTTP, out by gRPC.
	@bin/webhook-gateway demo

ENGINE ?= jetstream
DURATION ?= 10m
CLUSTER = $(BUILD) -o bin/webhook-gateway-cluster ./cmd/webhook-gateway-cluster && bin/webhook-gateway-cluster

.PHONY: cluster
cluster: build ## Build, and show three gateways on three NATS servers while some are killed (a minute; ENGINE=postgresql).
	@$(CLUSTER) watch -engine $(ENGINE)

# The gateway as it is, and NATS, on a standard library whose clock and disk can be spoiled.
.PHONY: faults
faults: ## Torment such a cluster, and judge from outside whether every promise is kept (DURATION=10m, SEED, ENGINE).
	@[ -e bin/_faults/webhook-gateway ] || echo 'Building bin/_faults/: a few minutes the first time, at once from then on.'
	@$(GO) run ./cmd/webhook-gateway-cluster/overlay bin/_faults
	@$(BUILD) -overlay bin/_faults/overlay.json -o bin/_faults/ ./cmd/webhook-gateway ./cmd/webhook-gateway-cluster
	@bin/_faults/webhook-gateway-cluster faults -gateway bin/_faults/webhook-gateway -engine $(ENGINE) -duration $(DURATION) $(if $(SEED),-seed $(SEED))

.PHONY: faults-short
faults-short: ## As faults, for as long as CI has time.
	@$(MAKE) --no-print-directory faults DURATION=75s

.PHONY: upgrade
upgrade: DURATION = 2m
upgrade: build ## Replace the gateways of such a cluster one by one by those of another version, and back, and judge likewise (FROM=<revision>).
	@$(CLUSTER) upgrade -engine $(ENGINE) -duration $(DURATION) $(if $(FROM),-from $(FROM)) $(if $(SEED),-seed $(SEED))

.PHONY: upgrade-short
upgrade-short: ## As upgrade, once.
	@$(MAKE) --no-print-directory upgrade DURATION=0

.PHONY: test
test: ## Run all tests with the race detector.
	$(GO) test -race -timeout 30m ./...
	@command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || \
	echo 'Left out: the tests of server/commitlog/postgresql, which need a PostgreSQL server (on Debian: apt-get install postgresql).'
	@echo 'Left out: the examples in Python and TypeScript. make clients runs them.'

BINARY ?= bin/webhook-gateway

.PHONY: build
build: ## Build bin/webhook-gateway; with VERSION=v1.2.3 it says so, without the symbols of a debugger.
	@[ -e $(BINARY) ] || echo 'Building $(BINARY): a minute or two the first time, at once from then on.'
	@$(BUILD) $(if $(VERSION),-buildvcs=false -ldflags='-s -X main.release=$(VERSION)') -o $(BINARY) ./cmd/webhook-gateway

bin/grpcurl: .ci/tools.mod ## Build grpcurl, which calls the API by reflection.
	$(BUILD) -modfile=.ci/tools.mod -o $@ github.com/fullstorydev/grpcurl/cmd/grpcurl

# What the commands say is known to their tests, and their own package has no other door.
REFERENCE = $(GO) run ./cmd/webhook-gateway-reference $(1) && \
	$(GO) test -count=1 -run '^TestCommandReference$$' ./cmd/webhook-gateway -reference $(1)

.PHONY: generate
generate: ## Generate gen/ from proto/, and docs/reference/ from proto/ and the commands.
	$(BUF) generate
	$(GO) run ./cmd/webhook-gateway-openapi gen/openapi
	rm -rf docs/reference && $(call REFERENCE,$(CURDIR)/docs/reference)

.PHONY: generate-check
generate-check: ## Fail if what is generated is not what make generate would generate.
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	$(BUF) generate --output "$$dir" && $(GO) run ./cmd/webhook-gateway-openapi "$$dir/gen/openapi" && \
	$(call REFERENCE,"$$dir/reference") && \
	diff -r gen "$$dir/gen" && diff -r docs/reference "$$dir/reference" && echo "what is generated is up to date" || \
	{ echo "gen/ or docs/reference/ is not what make generate would write: run it and commit"; exit 1; }

.PHONY: openapi-check
openapi-check: ## Lint the OpenAPI documents, and try clients generated from them (needs Node.js).
	.ci/openapi/check

.PHONY: clients
clients: ## Run the examples in Python and TypeScript on a gateway that is killed (needs both; on Debian it installs them).
	GO='$(GO)' .ci/clients

.PHONY: console-check
console-check: build ## Check the console's types and vendored modules, and test it in Chromium (needs Node.js; on Debian it installs both).
	GATEWAY=$(abspath $(BINARY)) .ci/console

.PHONY: console-speed
console-speed: build ## Measure the console in Chromium: first paint, frames and long tasks of the live page.
	GATEWAY=$(abspath $(BINARY)) .ci/console speed

.PHONY: console-images
console-images: build ## Take the pictures of the console that the docs show.
	GATEWAY=$(abspath $(BINARY)) .ci/console images

.PHONY: deploy-check
deploy-check: ## Check the image's tree, the systemd unit (both need root), the Helm chart and the compose file.
	.ci/deploy/check

.PHONY: alerts-check
alerts-check: build ## Test the alert rules and the dashboard with Prometheus' own code, also on what a real gateway serves.
	cd .ci/alerts && GATEWAY=$(abspath $(BINARY)) $(GO) test -timeout 300s -count=1 ./... # what it reads is outside of its module: no cached result

.PHONY: lint
lint: ## Lint the Go code and the protos.
	$(BUF) lint
	$(BUF) format --diff --exit-code
	$(LINT) run ./...

.PHONY: vulnerabilities
vulnerabilities: ## Fail if the code calls what is known to be vulnerable (needs a network, or GOVULNDB).
	.ci/vulnerabilities

.PHONY: format
format: ## Format the Go code and the protos.
	$(BUF) format --write
	$(LINT) fmt ./...

# Until the first release the API may break; from then on it is compared with the
# last one.
AGAINST ?= $(shell git describe --tags --abbrev=0 --match 'v*' 2>/dev/null)

.PHONY: breaking
breaking: ## Fail if the protos break users of those at AGAINST (default: the last release).
	@if [ -z '$(AGAINST)' ]; then echo "no release yet to compare the protos with"; \
	else $(BUF) breaking --against '.git#ref=$(AGAINST)' && echo "no breaking change since $(AGAINST)"; fi

.PHONY: release
release: ## Build a release in dist/: archives, SBOM, protos, chart, checksums (VERSION=v1.2.3, default: the tag of this commit).
	@version='$(or $(VERSION),$(shell git describe --tags --exact-match --match 'v*' --dirty=-dirty 2>/dev/null))'; \
	case "$$version" in \
	'') echo 'release: this commit has no tag v*: tag it, or give VERSION=v1.2.3' >&2; exit 2;; \
	*-dirty) echo 'release: there are changes that are not committed: commit them, or give VERSION=v1.2.3' >&2; exit 2;; \
	esac; rm -rf dist && .ci/release/build "$$version" dist && ls -l dist

.PHONY: release-check
release-check: ## Check that a release of the last commit is whole and reproducible.
	.ci/release/check

FUZZTIME ?= 30s

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (default 30s).
	@set -e; for pkg in $$($(GO) list ./server/... ./cmd/...); do \
		for target in $$($(GO) test -list '^Fuzz' "$$pkg" | grep '^Fuzz' || true); do \
			echo "== $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "$$pkg"; \
		done; done

.PHONY: bench
bench: ## Measure the gateway as a whole: ingest (needs wrk), latency, catch-up, memory. Flags: BENCH='-run ingest'.
	$(GO) run ./cmd/webhook-gateway-bench $(BENCH)

.PHONY: bench-packages
bench-packages: ## Run the benchmarks beside the code.
	$(GO) test -run '^$$' -bench . -benchmem ./server/...

.PHONY: ci
ci: ## What CI runs.
	.ci/run
