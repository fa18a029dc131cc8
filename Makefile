# The interface of this repository. `make demo` and `make test` install what they need below
# target/, .venv/ and node_modules/; system packages are named by `make prerequisites`.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PYTHON := $(CURDIR)/$(VENV)/bin/python
# quick: what people and tests wait for; release: what is measured.
PROFILE := quick
OFFICIAL := target/official
INTEGRATIONS := target/integrations
# The extension module leaves Python's symbols to the interpreter that loads it.
export PYO3_BUILD_EXTENSION_MODULE := 1
export PATH := $(HOME)/.cargo/bin:$(PATH)
# One server for the whole run is started by each suite; none of them touches the user's own.
unexport DAYTONA_API_URL DAYTONA_SERVER_URL DAYTONA_TARGET DAYTONA_JWT_TOKEN DAYTONA_ORGANIZATION_ID

.PHONY: help
help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: prerequisites
prerequisites: ## Check for rustup, Python, Node and a C compiler
	@./scripts/prerequisites

$(VENV)/.ready: requirements-dev.txt | prerequisites
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	echo $(CURDIR)/bindings-python/python > "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/daytona-native.pth"
	touch $@

node_modules/.ready: package.json package-lock.json | prerequisites
	npm ci --no-audit --no-fund --loglevel=error
	touch $@

.PHONY: build
build: $(VENV)/.ready node_modules/.ready ## Build the binary and both bindings, in place
	cargo build --profile $(PROFILE) --locked -p daytona-native -p daytona-python -p daytona-node
	./scripts/agent $(PROFILE)
	./scripts/place $(PROFILE)

.PHONY: demo
demo: build ## Run the Python and the Node quickstart on a local server
	$(PYTHON) examples/python/quickstart.py
	node examples/node/quickstart.mjs

.PHONY: test
test: build $(OFFICIAL)/.ready $(INTEGRATIONS)/.ready ## Run every test
	./scripts/prerequisites test
	cargo fetch --locked --quiet
	cargo test --profile $(PROFILE) --locked --workspace --no-run
	./scripts/together \
		rust='cargo test --profile $(PROFILE) --locked --workspace --no-fail-fast' \
		python='$(PYTHON) -m pytest --maxfail=10 tests/python' \
		official-python='$(OFFICIAL)/venv/bin/python -m pytest --maxfail=10 tests/official' \
		official-node='NODE_PATH=$(CURDIR)/$(OFFICIAL)/node_modules node --test --test-reporter=spec tests/official/*.test.mjs' \
		node='node --test --test-reporter=spec tests/node/*.test.mjs' \
		docker='PROFILE=$(PROFILE) $(PYTHON) tests/docker/run.py own builds rust' \
		parity='$(PYTHON) tests/parity/check_python.py --ratchet && node tests/parity/check_node.mjs --ratchet'
	./scripts/together chaos='$(PYTHON) tests/chaos.py --kills 8'

$(OFFICIAL)/.ready: tests/official/requirements.txt tests/official/package.json tests/official/package-lock.json | prerequisites
	mkdir -p $(OFFICIAL)
	python3 -m venv $(OFFICIAL)/venv
	$(OFFICIAL)/venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/official/requirements.txt
	cp tests/official/package.json tests/official/package-lock.json $(OFFICIAL)/
	cd $(OFFICIAL) && npm ci --no-audit --no-fund --loglevel=error
	touch $@

# The host programs of the integrations, and a Node as new as they ask for.
$(INTEGRATIONS)/.ready: tests/integrations/package.json tests/integrations/package-lock.json | prerequisites
	mkdir -p $(INTEGRATIONS)
	cp tests/integrations/package.json tests/integrations/package-lock.json $(INTEGRATIONS)/
	cd $(INTEGRATIONS) && npm ci --ignore-scripts --legacy-peer-deps --no-audit --no-fund --loglevel=error
	touch $@

.PHONY: test-docker
test-docker: build $(OFFICIAL)/.ready ## Run every behaviour case on a Docker engine, with every client
	PROFILE=$(PROFILE) $(PYTHON) tests/docker/run.py

.PHONY: lint
lint: build ## Check formatting, lints and types
	cargo fmt --all --check
	cargo clippy --profile $(PROFILE) --locked --workspace --all-targets -- -D warnings
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	cd bindings-python && $(PYTHON) -m mypy.stubtest daytona_native --allowlist stubtest-allowlist.txt
	npm run --silent lint

.PHONY: bench
bench: PROFILE := release
bench: build $(OFFICIAL)/.ready ## Measure against the official clients and a bare Rust client, as ratios
	cargo build --release --locked -p daytona-native -p daytona-python -p daytona-node -p daytona-bench
	$(PYTHON) benches/run.py

# Coverage instrumentation as libFuzzer wants it; a target of its own keeps it out of build scripts.
FUZZ_FLAGS := --cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
	-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
RUNS ?= 10000000

.PHONY: fuzz
fuzz: prerequisites ## Give each fuzz target RUNS inputs (10 million)
	RUSTFLAGS="$(FUZZ_FLAGS)" cargo build --release --manifest-path core/fuzz/Cargo.toml --target $(HOST) --target-dir target/fuzz
	for target in demux multipart messages events; do \
		mkdir -p target/fuzz/corpus/$$target; \
		target/fuzz/$(HOST)/release/$$target -runs=$(RUNS) -max_len=256 -rss_limit_mb=2048 -timeout=10 \
			-artifact_prefix=target/fuzz/ -print_final_stats=1 target/fuzz/corpus/$$target; \
	done

KILLS ?= 200

.PHONY: chaos
chaos: build ## Kill the server and its agents KILLS times (200) under load, and look at what is left
	$(PYTHON) tests/chaos.py --kills $(KILLS)

.PHONY: parity
parity: build ## Compare with the official surface
	$(PYTHON) tests/parity/check_python.py --list
	node tests/parity/check_node.mjs --list

.PHONY: dist
dist: $(VENV)/.ready node_modules/.ready ## Build the wheel and the npm package into dist/
	./scripts/dist

.PHONY: clean
clean: ## Remove everything built
	rm -rf target .venv node_modules dist
