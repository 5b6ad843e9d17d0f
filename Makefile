# Everything runs in .venv, made from the pinned requirements. See README.md.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := celery docker kubernetes
EXTRAS_STAMP := $(VENV)/.installed-extras
CLUSTERS := /etc/postgresql-common/createcluster.d
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install extras demo up test smoke browser pooler broker postgresql check mutate bench dictionary screenshots lock clean

help: ## Show these targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## Make .venv from the pinned requirements

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed; $(PYTHON) is $$($(PYTHON) --version). Give another: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q innomaint_pipeline
	@touch $(STAMP)

extras: $(EXTRAS_STAMP) ## Add Celery, Docker and Kubernetes, from locks of their own

$(EXTRAS_STAMP): $(STAMP) $(EXTRAS:%=requirements-%.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
		$(EXTRAS:%=-r requirements-%.txt)
	@touch $@

demo: $(STAMP) ## Show the whole program on an invented utility, without a token
	$(BIN)/innomaint demo

up: $(STAMP) ## Run everything against the real API (.env); DEMO=1: against the simulator
	$(BIN)/innomaint up $(if $(DEMO),--demo)

# Two workers for two cores, and two whose tests mostly wait. An environment that forbids Python to keep what it
# has compiled would make every worker and every process that a test starts compile everything anew.
test: $(EXTRAS_STAMP) browser pooler broker postgresql ## Run every test but the benchmarks' own
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 4 -m "not benchmark"

smoke: $(STAMP) ## Run every benchmark once, at a size that shows only that it works
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m benchmark innomaint_pipeline_tests/test_benchmarks.py

# The tests of the page drive a real one; elsewhere than on Debian, or not as root, they say what is missing.
browser: ## Install Chromium for the tests of the page, where it is missing (Debian, as root)
	@command -v chromium chromium-browser google-chrome >/dev/null 2>&1 \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 \
		&& apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
		|| echo "No Chromium was found or installed: the tests of the page will fail." >&2

# Import and sync are tested through the pooler that companies put before PostgreSQL.
pooler: ## Install PgBouncer for the tests, where it is missing (Debian, as root)
	@command -v pgbouncer >/dev/null 2>&1 \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 \
		&& apt-get update -qq && apt-get install -y -qq --no-install-recommends pgbouncer >/dev/null; } \
		|| echo "No PgBouncer was found or installed: the tests through it will fail." >&2

# Workers of several machines are tested and measured with the broker that they share.
broker: ## Install Redis for tests and benchmarks, where it is missing (Debian, as root)
	@command -v redis-server >/dev/null 2>&1 \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 \
		&& apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server >/dev/null; } \
		|| echo "No Redis was found or installed: the tests with workers will fail." >&2

# Their database is a server's. The package would start one of its own, which nobody asked for.
postgresql: ## Install PostgreSQL for tests and benchmarks, where it is missing (Debian, as root)
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 \
		&& mkdir -p $(CLUSTERS) && echo "create_main_cluster = false" >$(CLUSTERS)/none.conf \
		&& { apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql >/dev/null; \
		installed=$$?; rm -f $(CLUSTERS)/none.conf; [ $$installed = 0 ]; }; } \
		|| echo "No PostgreSQL was found or installed: the tests with workers will fail." >&2

check: $(EXTRAS_STAMP) ## Format, lint, types and dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/python -m tools.audit

mutate: $(STAMP) ## Remove one defence at a time, in a copy, and see its test fail
	$(BIN)/python tools/mutate.py

bench: $(EXTRAS_STAMP) $(BENCH_STAMP) broker postgresql ## Measure, and print ratios beside other programs (FULL=1: unscaled)
	$(BIN)/python -m benchmarks $(if $(FULL),--full)

dictionary: $(STAMP) ## Write the data dictionary of docs/tables.md from the code
	$(BIN)/python -m tools.dictionary

screenshots: $(STAMP) ## Take the pictures of the page in docs/ anew (needs Chromium)
	$(BIN)/python -m tools.screenshots

# The programs that ours is compared with live in an environment of their own.
$(BENCH_STAMP): benchmarks/requirements.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	@touch $@

lock: ## Pin the requirements anew, with hashes and without addresses (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --no-strip-extras -o requirements.txt
	for extra in $(EXTRAS); do \
		uv pip compile pyproject.toml --extra $$extra --universal --python-version 3.11 --generate-hashes \
			--constraint requirements.txt --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
			--no-strip-extras $$(sed -nE 's/^([A-Za-z0-9._-]+)(\[.*\])?==.*/--no-emit-package \1/p' requirements.txt) \
			-o requirements-$$extra.txt || exit 1; \
	done

clean: ## Remove .venv and caches; data in .innomaint stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
