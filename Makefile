# The only entrance. `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
OUT := out
DEVELOP := PIP_QUIET=1 VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --quiet
SOAK = $(PY) -m tests.reservation.soak --minutes $${SOAK_MINUTES:-9} --folder $(OUT)/soak
SOURCES := Cargo.toml Cargo.lock pyproject.toml $(shell find rust -name '*.rs' -o -name Cargo.toml)
export NO_MKDOCS_2_WARNING := 1
export HYPOTHESIS_PROFILE ?= $(if $(CI),ci,dev)

.PHONY: help demo test dev lint bench bench-count docs crash soak venue fuzz clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: $(VENV)/.built ## build, quote a market on the paper venue, write the report
	@$(PY) -m examples.demo --out $(OUT)

# Three for two cores: a quarter of the time tests wait, for servers, time-outs and the disk.
test: $(VENV)/.built ## Rust and Python tests, docs code, tidy checks, wheel from the sdist
	cargo test --locked --workspace --exclude equipoise-binding --quiet
	$(PY) -m pytest -n 3 --dist loadfile $(PYTEST_ARGS)

dev: $(VENV)/.maturin ## debug build in place, overflow and assertion checks on
	$(DEVELOP) --extras dev
	@rm -f $(VENV)/.built

lint: $(VENV)/.built ## formatting, clippy, ruff, mypy, stub against the binary
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/stubtest equipoise._rust

bench: $(VENV)/.built ## wall-clock benches with their peers, interleaved in one run
	cargo bench --locked -p equipoise
	$(PY) -m benches

bench-count: ## instruction counts per solve (needs valgrind)
	benches/count.sh

docs: $(VENV)/.docs ## Rust and Python documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet -p equipoise
	$(BIN)/mkdocs build --strict --quiet --site-dir $(OUT)/site

crash: $(VENV)/.built ## SIGKILL suites at full length: CRASH_POINTS kills (default 200)
	CRASH_POINTS=$${CRASH_POINTS:-200} $(PY) -m pytest tests/crash --timeout 1800

soak: $(VENV)/.built ## long seeded lives, again to go on: SOAK_MEMORY, SOAK_SQLITE, SOAK_VALKEY steps, SOAK_MINUTES a store
	$(SOAK) memory --operations $${SOAK_MEMORY:-10000000}
	$(SOAK) sqlite --operations $${SOAK_SQLITE:-1000000}
	$(SOAK) valkey --operations $${SOAK_VALKEY:-1000000}

venue: $(VENV)/.built ## lives of a book beside a simulated exchange, its views checked: VENUE_LIVES a rule (default 500)
	VENUE_LIVES=$${VENUE_LIVES:-500} $(PY) -m pytest tests/reservation/test_reconcile_venue.py --timeout 3600

fuzz: $(VENV)/.built ## long property runs: FUZZ_CASES cases a property in Rust (default 200000), 2000 in Python
	PROPTEST_CASES=$${FUZZ_CASES:-200000} cargo test --locked --release -p equipoise
	SIDES_FUZZ_CASES=$${SIDES_FUZZ_CASES:-10000000} cargo test --locked --release -p equipoise --test sides -- --ignored --nocapture
	HYPOTHESIS_PROFILE=deep $(PY) -m pytest tests/unit tests/boundary tests/reservation tests/venues --timeout 3600

clean: ## remove everything that was built
	rm -rf $(VENV) $(OUT) target

$(VENV)/.maturin:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet 'maturin>=1.9,<2'
	@touch $@

$(VENV)/.built: $(VENV)/.maturin $(SOURCES)
	$(DEVELOP) --release --extras dev
	@touch $@

$(VENV)/.docs: pyproject.toml | $(VENV)/.built
	$(DEVELOP) --release --extras docs
	@touch $@
