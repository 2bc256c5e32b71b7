# Everything a newcomer needs: `make demo` shows the bot, `make test` proves it.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# What Python and pytest have compiled is kept: without, each process of the tests compiles all of it anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo install run test test-all fuzz crash hosts soak money bench check audit format lock clean
.DEFAULT_GOAL := help

# One stamp for each set of requirements: installed again only when its pins or the project's metadata change.
$(VENV)/.installed-%: requirements/%.txt pyproject.toml
	@test -x $(BIN)/python || { echo "Creating a virtual environment in $(VENV)."; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python requirements/progress.py $< $(BIN)/python -m pip install --require-hashes --no-deps -r $<
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort

demo: $(VENV)/.installed-demo ## the whole bot on this machine, without a token or a key
	@$(BIN)/zoetrope demo

# Compiled here, as a service may not write into the clone.
install: $(VENV)/.installed-run ## what a host needs, without starting it
	@$(BIN)/python -m compileall -q bot cogs

run: $(VENV)/.installed-run ## the bot, with the settings of .env
	$(BIN)/zoetrope run

PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(if $(SEED),--randomly-seed=$(SEED))

test: $(VENV)/.installed-dev ## the tests in minutes; SEED=... repeats the order of an earlier run
	$(PYTEST)

test-all: $(VENV)/.installed-dev ## what `make test` leaves out: long tests, all crash points, fuzzing, a soak
	$(PYTEST) -m full
	$(BIN)/python -m tests.crash $(CRASH)
	$(BIN)/python -m tests.fuzz.campaign --minutes 0.5 --seed 20
	$(BIN)/python -m tests.soak --minutes 1 --seed 20

fuzz: $(VENV)/.installed-dev ## broken pictures by the thousand; MINUTES=10 SEED=... by choice
	$(BIN)/python -m tests.fuzz.campaign --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

soak: $(VENV)/.installed-dev ## the whole bot under load and faults; SOAK="--minutes 120" for longer than 3 minutes
	$(BIN)/python -m tests.soak $(SOAK)

crash: $(VENV)/.installed-dev ## whole processes killed hundreds of times, and what is left audited; CRASH="--seed 7 --random 100"
	$(BIN)/python -m tests.crash $(CRASH)

hosts: $(VENV)/.installed-dev ## many processes on one PostgreSQL, killed, paused, cut off, then audited; HOSTS="--minutes 5 --seed 7"
	$(BIN)/python -m tests.hosts $(HOSTS)

money: $(VENV)/.installed-dev ## thousands of orders with faults, and the ledger against the gateways' books; MONEY="--jobs 1000 --database both"
	$(BIN)/python -m tests.money $(MONEY)

bench: $(VENV)/.installed-dev ## what the bot costs, next to plain baselines; BENCH="NAME ... --against DIR" by choice
	$(BIN)/python -m tests.bench $(BENCH)

check: $(VENV)/.installed-dev ## what CI checks beside the tests: lint, format, types, imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# dev.txt holds all of run.txt and demo.txt.
audit: ## asks the internet's advisory database about every pinned dependency
	test -x $(VENV)/audit/bin/pip-audit || { $(PYTHON) -m venv $(VENV)/audit && \
	  $(VENV)/audit/bin/python -m pip install --quiet --require-hashes --no-deps -r requirements/audit.txt; }
	for set in dev audit; do $(VENV)/audit/bin/pip-audit --strict --require-hashes --disable-pip -r requirements/$$set.txt || exit 1; done

format: $(VENV)/.installed-dev ## fixes what `check` would complain about
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-header --no-annotate pyproject.toml requirements/build.in

lock: $(VENV)/.installed-dev ## resolves requirements/*.txt anew
	$(LOCK) --extra demo --extra postgres --extra dev -o requirements/dev.txt
	$(LOCK) --extra demo -c requirements/dev.txt -o requirements/demo.txt
	$(LOCK) --extra postgres -c requirements/dev.txt -o requirements/run.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate requirements/audit.in -o requirements/audit.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate requirements/deploy.in -o requirements/deploy.txt

clean: ## removes the virtual environment and caches, never data/
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
